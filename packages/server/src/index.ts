/** The Countersign server, for programs that start it. */
export { startServer, type RunningServer, type ServerConfig } from "./server.js";
