/**
 * The one script of verify.html. The page starts it; the page also starts a worker of the same text, so that there is one script
 * to read and one hash to pin. Which of the two this is shows in whether there is a document.
 */
import { runJob } from "./engine.js";
import type { Answer, Job } from "./messages.js";
import { startPage } from "./page.js";

interface WorkerScope {
  onmessage: ((event: MessageEvent<Job>) => void) | null;
  postMessage(answer: Answer): void;
}

if (typeof document === "undefined") {
  const scope = globalThis as unknown as WorkerScope;
  scope.onmessage = (event) => {
    void runJob(event.data, { answer: (answer) => scope.postMessage(answer), breathe: () => undefined });
  };
} else {
  const script = document.currentScript?.textContent ?? "";
  // The script stands in the head so that nobody can put anything before it; the page is there later.
  document.addEventListener("DOMContentLoaded", () => startPage(script));
}
