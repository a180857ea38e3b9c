import { jest } from '@jest/globals';
import { type Beating, Heartbeats } from '../../../lib/engine/heartbeats.js';

class Execution implements Beating {
  beats = 0;

  constructor(private readonly onBeat: (one: Execution) => void = () => undefined) {}

  beat(): void {
    this.beats++;
    this.onBeat(this);
  }
}

describe('Heartbeats', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it('beats each once, at its time, by one timer', () => {
    const heartbeats = new Heartbeats();
    const [late, early] = [new Execution(), new Execution()];
    heartbeats.schedule(late, 300);
    heartbeats.schedule(early, 100);
    expect(jest.getTimerCount()).toBe(1);
    jest.advanceTimersByTime(150);
    expect([early.beats, late.beats]).toEqual([1, 0]);
    expect(jest.getTimerCount()).toBe(1);
    jest.advanceTimersByTime(1_000);
    expect([early.beats, late.beats]).toEqual([1, 1]);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('goes on where a beat asks for the next one', () => {
    const heartbeats = new Heartbeats();
    const execution = new Execution((one) => heartbeats.schedule(one, 100));
    heartbeats.schedule(execution, 100);
    jest.advanceTimersByTime(1_050);
    expect(execution.beats).toBeGreaterThanOrEqual(9);
  });

  it('does not beat what was cancelled, and is not kept by it', () => {
    const heartbeats = new Heartbeats();
    const execution = new Execution();
    heartbeats.schedule(execution, 100);
    heartbeats.cancel(execution);
    jest.advanceTimersByTime(1_000);
    expect([execution.beats, jest.getTimerCount()]).toEqual([0, 0]);
  });

  it('waits for longer than a timer can', () => {
    const heartbeats = new Heartbeats();
    const execution = new Execution();
    heartbeats.schedule(execution, 2 ** 31 + 1_000);
    jest.advanceTimersByTime(2 ** 31 - 1);
    expect(execution.beats).toBe(0);
    jest.advanceTimersByTime(2_000);
    expect(execution.beats).toBe(1);
  });
});
