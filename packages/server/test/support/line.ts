/** A way to the database over TCP that tests may disturb. */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import pg from "pg";

export interface Line {
  readonly login: pg.ClientConfig;
  /** Called with the number of the connection since it was set; true breaks that off before it has begun. */
  began: (connection: number) => boolean;
  /** What comes from the database arrives byte by byte. */
  crumbles: boolean;
  /** Set: nothing passes any more, in neither direction, and nobody is told. Called when something did not pass: bytes, or a goodbye. */
  swallows: (() => void) | undefined;
  close(): void;
}

export async function lineTo(login: pg.ClientConfig): Promise<Line> {
  const target = new pg.Client(login);
  const { host, port, user, database, password } = target;
  const path = host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  const open = new Set<Socket>();
  let connections = 0;
  let began: Line["began"] = () => false;
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    connections += 1;
    if (began(connections)) return void near.destroy();
    const far = connect({ ...path, allowHalfOpen: true });
    open.add(near).add(far);
    const passes = (pass: () => unknown): unknown => (line.swallows === undefined ? pass() : line.swallows());
    near.on("data", (bytes) => passes(() => far.write(bytes)));
    far.on("data", (bytes) => {
      if (line.swallows !== undefined) return line.swallows();
      if (!line.crumbles) return void near.write(bytes);
      for (let at = 0; at < bytes.length; at++) near.write(bytes.subarray(at, at + 1));
    });
    near.on("end", () => passes(() => far.end()));
    far.on("end", () => passes(() => near.end()));
    near.on("error", () => passes(() => far.destroy())).on("close", () => passes(() => far.destroy()));
    far.on("error", () => passes(() => near.destroy())).on("close", () => passes(() => near.destroy()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: listening } = server.address() as AddressInfo;
  const line: Line = {
    login: {
      ...{ host: "127.0.0.1", port: listening, password: String(password) },
      ...(user === undefined ? {} : { user }),
      ...(database === undefined ? {} : { database }),
    },
    get began() {
      return began;
    },
    set began(next) {
      connections = 0;
      began = next;
    },
    crumbles: false,
    swallows: undefined,
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
  return line;
}
