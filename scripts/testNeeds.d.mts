export type Need = "pure" | "database" | "processes" | "browser";
export const needs: readonly Need[];
export function testFilesByNeed(): Record<Need, string[]>;
