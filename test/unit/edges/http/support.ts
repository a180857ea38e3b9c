import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Answer {
  readonly status: number | undefined;
  readonly message: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: string[];
  readonly body: string;
}

/** A server of node for the tests of a file, whose responses a test writes. */
export function responses() {
  let server: Server;
  let listener: (response: ServerResponse) => unknown;
  let failure: unknown;

  beforeAll(async () => {
    server = createServer((_request, response) => {
      const fail = (error: unknown) => {
        failure = error;
        response.destroy();
      };
      try {
        void Promise.resolve(listener(response)).catch(fail);
      } catch (error) {
        fail(error);
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => (failure = undefined));

  const ask = (work: (response: ServerResponse) => unknown) => {
    listener = work;
    const asked = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: false });
    asked.end();
    return asked;
  };

  return {
    /** A request whose response `work` writes. */
    ask,

    /** What a client gets of what `work` does to the response. Throws what `work` throws. */
    answerTo: async (work: (response: ServerResponse) => unknown): Promise<Answer> => {
      const asked = ask(work);
      let answer: IncomingMessage;
      try {
        [answer] = (await once(asked, 'response')) as [IncomingMessage];
      } catch (error) {
        throw failure ?? error;
      }
      const chunks: Buffer[] = [];
      for await (const chunk of answer) chunks.push(chunk as Buffer);
      if (failure) throw failure;
      const { statusCode: status, statusMessage: message, headers, rawHeaders } = answer;
      return { status, message, headers, rawHeaders, body: Buffer.concat(chunks).toString('latin1') };
    },
  };
}
