/** Which fields of an item an operation takes: one rule an operation and kind, all problems at once. */
import { itemFields, type FieldRule, type ItemField, type ItemInput, type Problem } from "@countersign/contract";

/** True if the item says something in this field. */
export function hasField(item: ItemInput, field: ItemField): boolean {
  return fieldValue(item, field) !== undefined;
}

function fieldValue(item: ItemInput, field: ItemField): unknown {
  const [first, second] = field.split(".") as [keyof ItemInput, string | undefined];
  const value = item[first];
  if (second === undefined || typeof value !== "object" || value === null)
    return second === undefined ? value : undefined;
  return (value as Record<string, unknown>)[second];
}

const fieldPointer = (field: ItemField): string => `/${field.replace(".", "/")}`;
const listed = (fields: readonly ItemField[]): string => fields.map((field) => `\`${field}\``).join(" and ");

/** All that is missing or too much. */
export function checkFields(item: ItemInput, rule: FieldRule, pointer: string, what: string): Problem[] {
  const { required = [], optional = [], forms = [] } = rule;
  const allowed = new Set<ItemField>([...required, ...optional, ...forms.flat()]);
  const problems: Problem[] = [];
  for (const field of itemFields) {
    if (!hasField(item, field) || allowed.has(field)) continue;
    problems.push({
      code: "item_invalid",
      message: `${item.operation} of ${what} takes no \`${field}\`; remove it`,
      pointer: pointer + fieldPointer(field),
    });
  }
  for (const field of required) {
    if (hasField(item, field)) continue;
    problems.push({
      code: "item_invalid",
      message: `${item.operation} of ${what} needs \`${field}\``,
      pointer: pointer + fieldPointer(field),
    });
  }
  if (forms.length > 0) problems.push(...checkForms(item, forms, pointer, what));
  return problems;
}

function checkForms(item: ItemInput, forms: NonNullable<FieldRule["forms"]>, pointer: string, what: string): Problem[] {
  const begun = forms.filter((form) => form.some((field) => hasField(item, field)));
  const complete = begun.filter((form) => form.every((field) => hasField(item, field)));
  if (begun.length === 1 && complete.length === 1) return [];
  const choice = forms.map(listed).join(", or ");
  return [{ code: "item_invalid", message: `${item.operation} of ${what} takes exactly one of: ${choice}`, pointer }];
}
