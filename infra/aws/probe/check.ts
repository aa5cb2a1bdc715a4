/** One question to a real deployment. */
export interface Check {
  readonly question: string;
  /** How the answer begins that the code relies on; empty where either will do and only the documentation wants to know. */
  readonly expected: string;
  /** Looks, and says what it saw. */
  readonly look: () => Promise<string>;
}

/** What was seen. A check that breaks is an answer too. */
export interface Answer extends Omit<Check, 'look'> {
  readonly seen: string;
  readonly asExpected: boolean;
}

/** Asks one after the other, so that none disturbs the next. */
export async function ask(checks: readonly Check[], tell: (answer: Answer) => void): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const { question, expected, look } of checks) {
    const seen = await look().catch(
      (error: unknown) => `failed: ${error instanceof Error ? error.message : String(error)}`,
    );
    const answer = { question, expected, seen, asExpected: seen.startsWith(expected) };
    answers.push(answer);
    tell(answer);
  }
  return answers;
}

/** One line for people. */
export function line({ question, expected, seen, asExpected }: Answer): string {
  if (expected === '') return `     ${question}: ${seen}`;
  return asExpected ? `yes  ${question}: ${seen}` : `NO   ${question}: ${seen} (expected: ${expected})`;
}
