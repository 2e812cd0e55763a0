/** A way to the database over TCP that tests may disturb. */
import { connect, createServer, type AddressInfo } from "node:net";
import pg from "pg";

export interface Line {
  readonly login: pg.ClientConfig;
  /** Called with the number of the connection since it was set; true breaks that off before it has begun. */
  began: (connection: number) => boolean;
  /** What comes from the database arrives byte by byte. */
  crumbles: boolean;
  close(): void;
}

export async function lineTo(login: pg.ClientConfig): Promise<Line> {
  const target = new pg.Client(login);
  const { host, port, user, database, password } = target;
  const path = host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };
  let connections = 0;
  let began: Line["began"] = () => false;
  const server = createServer({ noDelay: true }, (near) => {
    connections += 1;
    if (began(connections)) return void near.destroy();
    const far = connect(path);
    near.pipe(far);
    far.on("data", (bytes) => {
      if (!line.crumbles) return void near.write(bytes);
      for (let at = 0; at < bytes.length; at++) near.write(bytes.subarray(at, at + 1));
    });
    near.on("error", () => far.destroy()).on("close", () => far.destroy());
    far.on("error", () => near.destroy()).on("close", () => near.destroy());
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
    close: () => void server.close(),
  };
  return line;
}
