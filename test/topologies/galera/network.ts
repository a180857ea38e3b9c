import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

const BRIDGE = 'nodes';
const SUBNET = '10.77.0';

/** A node, as the network knows it. */
interface Place {
  readonly number: number;
  readonly host: string;
}

/**
 * Network namespaces, one for each node, at a bridge. Of use in a network and mount namespace of its own alone (`unshare -nm`): there,
 * all of it is gone with the last process.
 */
export class Network {
  constructor(nodes: number) {
    // Names of namespaces are files, which would stay.
    mkdirSync('/run/netns', { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'none', '/run/netns']);
    ip(`link set lo up`);
    ip(`link add ${BRIDGE} type bridge`);
    ip(`addr add ${SUBNET}.254/24 dev ${BRIDGE}`);
    ip(`link set ${BRIDGE} up`);
    for (let node = 1; node <= nodes; node++) {
      ip(`netns add ${Network.nameOf(node)}`);
      ip(`link add at-node${node} type veth peer name eth0 netns ${Network.nameOf(node)}`);
      ip(`link set at-node${node} up master ${BRIDGE}`);
      this.within(node, 'link set lo up');
      this.within(node, `addr add ${Network.addressOf(node)}/24 dev eth0`);
      this.within(node, 'link set eth0 up');
    }
  }

  static nameOf(node: number): string {
    return `node${node}`;
  }

  static addressOf(node: number): string {
    return `${SUBNET}.${node}`;
  }

  /** Keeps the packets of a node from others, and theirs from it. Clients reach all of them. */
  isolate(node: Place, others: readonly Place[]): void {
    this.eachWay(node, others, 'add');
  }

  rejoin(node: Place, others: readonly Place[]): void {
    this.eachWay(node, others, 'del');
  }

  private eachWay(node: Place, others: readonly Place[], change: 'add' | 'del'): void {
    for (const other of others) {
      if (other === node) continue;
      this.within(node.number, `route ${change} blackhole ${other.host}/32`);
      this.within(other.number, `route ${change} blackhole ${node.host}/32`);
    }
  }

  private within(node: number, command: string): void {
    ip(`-n ${Network.nameOf(node)} ${command}`);
  }
}

function ip(command: string): void {
  execFileSync('ip', command.split(' '), { stdio: ['ignore', 'ignore', 'inherit'] });
}
