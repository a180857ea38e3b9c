/** The clients, in a process of their own: what they take of a processor delays neither the proxies nor the faults. */
import { Log } from '../history/log.js';
import { watchStarvation } from '../history/starvation.js';
import { Clients, type ClientSettings } from './clients.js';

export type ClientsCommand =
  | { readonly do: 'begin'; readonly settings: ClientSettings; readonly folder: string }
  | { readonly do: 'stop' | 'ask again' | 'count' | 'close' }
  | { readonly do: 'settle'; readonly ms: number };

let clients: Clients | undefined;
let working: Promise<void> | undefined;
let log: Log | undefined;
let watching: NodeJS.Timeout | undefined;

async function obey(command: ClientsCommand): Promise<unknown> {
  switch (command.do) {
    case 'begin':
      log = new Log(command.folder, 'clients');
      watching = watchStarvation(log);
      clients = new Clients(command.settings, log);
      working = clients.run();
      return;
    case 'stop':
      return clients?.stop();
    case 'settle':
      await clients!.settle(command.ms);
      return working;
    case 'ask again':
      return clients!.askAgain();
    case 'count':
      return clients?.operations ?? 0;
    case 'close':
      clients?.close();
      clearInterval(watching);
      log?.close();
      clients = undefined;
  }
}

process.once('disconnect', () => process.exit(1));
process.on('message', (command: ClientsCommand & { id: number }) => {
  const answer = (value: unknown) => process.send?.({ id: command.id, value });
  obey(command).then(answer, (error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
