/**
 * The people and agents of the demo. Each person makes a signing key of their own, enrols it with their one-time code and
 * signs what they vote on; the keys live in the memory of this process and go with it.
 */
import {
  operationRow,
  type AgentType,
  type ChangeSetView,
  type OperationId,
  type VoteDecision,
} from "@countersign/contract";
import {
  enrolmentBytes,
  generateSigningKeyPair,
  keyProofBytes,
  signMessage,
  voteSigningBytes,
  type JsonObject,
} from "@countersign/proof";
import { Countersign, type Input } from "@countersign/sdk";
import { checkedDigest } from "../signing.js";

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly tenant: string;
  readonly client: Countersign;
  /** The API key that was shown once. */
  readonly secret: string;
  readonly keyId: string;
  readonly privateKey: string;
}

export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly client: Countersign;
}

/** A person enrols with their one-time code. */
export async function enrolPerson(url: string, code: string): Promise<Person> {
  const { privateKey, publicKey } = generateSigningKeyPair();
  const signature = signMessage(privateKey, enrolmentBytes({ code, publicKey }));
  const enrolled = await new Countersign({ url }).enrol({ code, publicKey, label: "demo", signature });
  const client = new Countersign({ url, key: enrolled.secret });
  const { id, name } = enrolled.principal;
  return {
    id,
    name,
    tenant: enrolled.tenant.id,
    client,
    secret: enrolled.secret,
    keyId: enrolled.signingKey.id,
    privateKey,
  };
}

/** The input with a proof that the person's key is unlocked here and now. */
export function proven<K extends OperationId>(person: Person, operation: K, input: Input<K>): Input<K> {
  // With its defaults written out, so the server checks the same input.
  const whole = JSON.parse(JSON.stringify(operationRow(operation).input.parse(input))) as JsonObject;
  const atMs = Date.now();
  const bytes = keyProofBytes({ tenant: person.tenant, operation, input: whole, principal: person.id, atMs });
  return {
    ...whole,
    proof: { keyId: person.keyId, atMs, signature: signMessage(person.privateKey, bytes) },
  } as unknown as Input<K>;
}

export async function addPerson(
  by: Person,
  url: string,
  name: string,
  place: { readonly roles: string[]; readonly groups: string[] },
): Promise<Person> {
  const { enrolmentCode } = await by.client.createHuman(proven(by, "createHuman", { name, ...place }));
  return enrolPerson(url, enrolmentCode);
}

export async function addAgent(by: Person, url: string, name: string, agentType: AgentType): Promise<Agent> {
  const made = await by.client.createAgent(proven(by, "createAgent", { name, agentType }));
  return { id: made.principal.id, name, client: new Countersign({ url, key: made.secret }) };
}

/** Votes by signature on the change-set that the server shows; the digest is computed here from the shown content. */
export async function vote(
  person: Person,
  set: ChangeSetView,
  decision: VoteDecision,
  reason?: string,
): Promise<ChangeSetView> {
  const digest = checkedDigest(set);
  const atMs = Date.now();
  const bytes = voteSigningBytes({
    tenant: person.tenant,
    changeSetId: set.id,
    approvalDigest: digest,
    decision,
    voterId: person.id,
    atMs,
  });
  const signed = {
    id: set.id,
    digest,
    decision,
    keyId: person.keyId,
    atMs,
    signature: signMessage(person.privateKey, bytes),
  };
  const answer = await person.client.approveChangeSet({ ...signed, ...(reason === undefined ? {} : { reason }) });
  return answer.changeSet;
}
