/** What a shop's process tells the stage. */
export type WorkerMessage =
  { kind: 'listening'; port: number } | { kind: 'event'; type: string; recordId: string; text: string };

export function tell(message: WorkerMessage): void {
  if (process.connected) process.send?.(message);
}
