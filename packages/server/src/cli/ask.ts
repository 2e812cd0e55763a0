/** Questions to a person. Without a person at the terminal, each question names the flag that answers it. */
import { confirm, isCancel, password, select, text } from "@clack/prompts";
import { CliError } from "./exit.js";
import type { Shown } from "./text.js";

export interface Asker {
  /** False without a person: `refuse` says which flag to give. */
  confirm(question: Shown, flag: string): Promise<boolean>;
  text(
    question: Shown,
    options: { readonly flag: string; readonly initial?: string; readonly hint?: string },
  ): Promise<string>;
  secret(question: Shown, flag: string): Promise<string>;
  select<T extends string>(
    question: Shown,
    choices: readonly { readonly value: T; readonly label: string; readonly hint?: string }[],
    options: { readonly flag: string; readonly initial?: T },
  ): Promise<T>;
}

export function asker(interactive: boolean): Asker {
  return interactive ? askingAsker : refusingAsker;
}

// Answers of commands go to stdout; questions must not mix with them.
const output = process.stderr;

const askingAsker: Asker = {
  confirm: async (question) => answered(await confirm({ message: question.text, initialValue: false, output })),
  text: async (question, { initial, hint }) =>
    answered(
      await text({
        message: question.text,
        output,
        ...(initial === undefined ? {} : { initialValue: initial }),
        ...(hint === undefined ? {} : { placeholder: hint }),
      }),
    ),
  secret: async (question) => answered(await password({ message: question.text, output })),
  async select(question, choices, { initial }) {
    type Choice = (typeof choices)[number]["value"];
    const options = choices.map(({ value, label, hint }) => ({
      value,
      label,
      ...(hint === undefined ? {} : { hint }),
    }));
    const value = await select<string>({
      message: question.text,
      options,
      output,
      ...(initial === undefined ? {} : { initialValue: initial }),
    });
    return answered(value) as Choice;
  },
};

function answered<T>(value: T): Exclude<T, symbol> {
  if (isCancel(value)) throw new CliError("cancelled", "cancelled; nothing was done");
  return value as Exclude<T, symbol>;
}

function nobody(question: Shown, flag: string): CliError {
  return new CliError("confirmation_needed", `nobody is at the terminal to answer \`${question.text}\`; give ${flag}`);
}

const refusingAsker: Asker = {
  confirm: async (question, flag) => {
    throw nobody(question, flag);
  },
  text: async (question, { flag }) => {
    throw nobody(question, flag);
  },
  secret: async (question, flag) => {
    throw new CliError("passphrase_needed", `nobody is at the terminal to answer \`${question.text}\`; give ${flag}`);
  },
  select: async (question, _choices, { flag }) => {
    throw nobody(question, flag);
  },
};
