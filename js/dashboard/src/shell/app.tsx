/** The whole: who is signed in, the frame, and the page that the address names. */

import { Announcer } from "../kit/announce";
import { Boundary } from "../kit/notes";
import { useRoute } from "../router";
import { Outlet } from "./outlet";

export function App() {
  const { page } = useRoute();
  return (
    <>
      <main id="main" tabIndex={-1}>
        <Boundary what="This page" resetKey={page}><Outlet path={page} /></Boundary>
      </main>
      <Announcer />
    </>
  );
}
