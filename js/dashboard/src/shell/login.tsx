/** Signing in with a token. It is sent once, for a cookie that scripts cannot read, and kept nowhere. */

import { useEffect, useRef, useState, type FormEvent } from "react";
import { Button, TextField } from "../kit/form";
import { wordsOf } from "../kit/notes";
import { Page, Section } from "../kit/page";
import { Refusal } from "../kit/request";
import { signIn, useSession } from "../kit/session";

export function Login() {
  const { session, hasEnded } = useSession();
  const [token, setToken] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (isBusy) return;
    if (!token.trim()) return setError("Enter your token.");
    setBusy(true);
    try {
      await signIn(token.trim());
      setToken("");
    } catch (reason) {
      setError(reason instanceof Refusal && reason.status === 401 ? "The engine does not know this token, or it has expired. Check that it was copied whole." : wordsOf(reason));
      setBusy(false);
    }
  };
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => place.current?.querySelector("input")?.focus(), []);
  return (
    <div className="login" ref={place}>
      <Page title="Sign in" lead={`Mission control${session?.host ? ` of ${session.host}` : ""} is for people with a token.`}>
        <Section title="Your token" note={hasEnded ? "Your session has ended. Sign in again to go on where you were." : "Whoever runs this engine makes one for you with hms-ops-engine token."}>
          <form className="stack" onSubmit={(event) => void submit(event)} noValidate>
            <TextField label="Token" type="password" autoComplete="current-password" spellCheck={false} hint="It is sent to this engine only and not stored in this browser." error={error} value={token} onValue={(value) => (setToken(value), setError(null))} />
            <p><Button look="primary" type="submit" isBusy={isBusy}>Sign in</Button></p>
          </form>
        </Section>
        {session?.status_page && <p className="quiet-text">Looking for whether the service works? The <a href="/status">public status page</a> needs no token.</p>}
      </Page>
    </div>
  );
}
