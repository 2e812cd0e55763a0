/** The Countersign server, for who starts it from a program. */
export { startServer, type RunningServer, type ServerConfig } from "./server.js";
