import { jest } from '@jest/globals';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { ActivityMemory } from '../../../lib/dashboard/activity.js';
import { EventStreams } from '../../../lib/dashboard/event-streams.js';

afterEach(() => {
  jest.restoreAllMocks();
  jest.useRealTimers();
});

// Proxies close idle connections, and the page would ask for everything again each time.
it('sends heartbeats after the clock was set back', () => {
  let passed = 0;
  let date = Date.now();
  jest.useFakeTimers();
  jest.spyOn(performance, 'now').mockImplementation(() => passed);
  jest.spyOn(Date, 'now').mockImplementation(() => date + passed);
  const streams = new EventStreams(new ActivityMemory());
  const written: string[] = [];
  const response = Object.assign(new EventEmitter(), {
    destroyed: false,
    writableLength: 0,
    writeHead: () => undefined,
    write: (text: string) => void written.push(text),
    end: () => undefined,
  });
  streams.open(response as unknown as ServerResponse, {});
  date -= 3_600_000;
  for (; passed < 20_000; passed += 1_000) jest.advanceTimersByTime(1_000);
  streams.close();
  expect(written.slice(1)).toEqual([': heartbeat\n\n']);
});
