import type { Operation } from '#shared/lxd/operation.ts';
import type { Write } from '../../functions/ports/records.ts';
import type { OutboxEntry } from '../../functions/domain/hosts/outbox.ts';
import type { InstanceRecord } from '../../functions/domain/instances/instance.ts';
import { keys } from '../../functions/domain/keys.ts';
import { ended, renderOperation, type OperationRecord } from '../../functions/domain/operations/operation.ts';
import { refuseSecrets, type Edge } from './edge.ts';
import type { Run } from './run.ts';

const PROJECT = 'default';

/** Looks at every commit, and at everything that is said: what must hold at each step. */
export class Watcher {
  readonly #run: Run;
  readonly #edge: Edge;
  /** What was ever stored of each operation. */
  readonly #told = new Map<string, Set<string>>();
  readonly #final = new Set<string>();
  /** The newest look of the host that an instance's record was made of. */
  readonly #seqs = new Map<string, number>();
  /** The operations under way on an instance. */
  readonly #intents = new Map<string, Set<string>>();
  readonly #order = new Map<string, number>();
  /** Instances whose change was given up though the host may have done it: reports do not tell configurations, the user was told. */
  readonly unsure = new Set<string>();
  /** The operations there were, newest last. */
  readonly operations: string[] = [];

  constructor(run: Run, edge: Edge) {
    this.#run = run;
    this.#edge = edge;
    edge.store.watch = (writes) => this.#committed(writes);
    edge.watch = ({ operation }) => this.#said(operation as Operation);
  }

  /** The place of a command among all that were ever given. */
  orderOf(command: string): number | undefined {
    return this.#order.get(command);
  }

  #committed(writes: readonly Write[]): void {
    for (const write of writes) {
      if (write.op !== 'put') continue;
      const { pk, sk } = write.key;
      refuseSecrets(this.#run, JSON.stringify(write.data), `record ${pk} ${sk}`);
      if (pk.startsWith('OPERATIONS#')) this.#operation(write.data as OperationRecord);
      if (sk.startsWith('OUT#')) this.#command(write.data as OutboxEntry);
      if (pk.startsWith('INSTANCES#')) this.#instance(write.data as InstanceRecord);
    }
    for (const { op, key } of writes) {
      if (op === 'put' && key.pk.startsWith('INSTANCES#')) this.#lock(key.sk);
      if (op === 'put' && key.pk.startsWith('OPERATIONS#')) this.#ending(key.sk);
      if (op === 'delete' && key.pk.startsWith('INSTANCES#')) this.#intents.delete(key.sk);
    }
  }

  #command({ id }: OutboxEntry): void {
    if (!this.#order.has(id)) this.#order.set(id, this.#order.size + 1);
  }

  #operation(operation: OperationRecord): void {
    const { id, instance } = operation;
    if (!this.#told.has(id)) this.operations.push(id);
    const told = this.#told.get(id) ?? new Set();
    this.#told.set(id, told.add(essence(renderOperation(operation, ''))));
    if (this.#final.has(id)) this.#run.violated('what is final stays', `operation ${id} was changed after its end`);
    const over = ended(operation);
    if (over) {
      this.#final.add(id);
      this.#run.trace(() => `  operation ${id} ends: ${operation.status} ${operation.error}`);
    }
    if (instance === undefined) return;
    if (over && operation.error.startsWith('Gave up')) this.unsure.add(instance);
    const intents = this.#intents.get(instance) ?? new Set();
    this.#intents.set(instance, intents);
    if (over) intents.delete(id);
    else intents.add(id);
    if (intents.size > 1) this.#run.violated('one intent an instance', `${instance} has ${[...intents].join(' and ')}`);
  }

  #instance({ id, seq }: InstanceRecord): void {
    const before = this.#seqs.get(id) ?? 0;
    if (seq < before) this.#run.violated('news stay news', `${id} went back from look ${before} to ${seq}`);
    this.#seqs.set(id, seq);
  }

  /** A lock belongs to an operation that lives. */
  #lock(id: string): void {
    const task = this.#edge.store.get<InstanceRecord>(keys.instance(PROJECT, id))?.data.task;
    if (task === undefined) return;
    const operation = this.#edge.store.get<OperationRecord>(keys.operation(PROJECT, task.operation));
    if (operation === undefined || ended(operation.data)) {
      this.#run.violated('I5 no lock outlives its operation', `${id} is held by ${task.operation}`);
    }
  }

  /** With an operation's end everything of it ends. */
  #ending(id: string): void {
    const { store } = this.#edge;
    const operation = store.get<OperationRecord>(keys.operation(PROJECT, id))?.data;
    if (operation === undefined) return;
    const { command, stream, instance } = operation;
    const left = [
      command !== undefined && store.get(keys.command(command)) && `command ${command}`,
      stream !== undefined && store.get(keys.stream(stream)) && `stream ${stream}`,
      instance !== undefined &&
        store.get<InstanceRecord>(keys.instance(PROJECT, instance))?.data.task?.operation === id &&
        `the lock of ${instance}`,
    ].filter(Boolean);
    if (ended(operation) && left.length > 0) {
      this.#run.violated('I5 nothing outlives its operation', `${id} has ended, but not ${left.join(', ')}`);
    }
    if (!ended(operation) && command !== undefined && !store.get(keys.command(command))) {
      this.#run.violated('I5 every operation can end', `the command of ${id} is gone`);
    }
  }

  /** I7: nothing is said of an operation that the store never held. */
  #said(operation: Operation): void {
    const told = this.#told.get(operation.id);
    if (!told?.has(essence(operation))) {
      this.#run.violated('I7 what is said was so', `operation ${operation.id}: ${JSON.stringify(operation)}`);
    }
  }
}

function essence({ status_code, updated_at, err }: Operation): string {
  return `${status_code} ${updated_at} ${err}`;
}
