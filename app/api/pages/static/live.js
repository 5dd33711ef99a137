// Follows events and fetches this page again when one came; the server alone renders. Without it, reload by hand.
"use strict";
(() => {
  const state = document.getElementById("live");
  const job = location.pathname.match(/^\/job\/([^/]+)$/);
  const stream = "/v2/events" + (job ? "?job_id=" + job[1] : "");
  const PAUSE_MS = 400;
  let timer = 0;
  let stale = false;

  const say = (text, kind) => {
    state.textContent = text;
    state.className = "live " + kind;
  };

  const refresh = async () => {
    timer = 0;
    if (document.hidden) {
      stale = true;
      return;
    }
    stale = false;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-live]")) {
      const found = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (found && !busy && found.innerHTML !== part.innerHTML) {
        part.replaceChildren(...found.childNodes);
      }
    }
  };

  const later = () => {
    timer = timer || setTimeout(() => refresh().catch(() => say("offline", "off")), PAUSE_MS);
  };

  const source = new EventSource(stream);
  const kinds = (
    "JobCreated JobRenamed JobConfigured JobStarted JobProgressed JobSynced JobErrored JobSlept JobFailed JobPaused " +
    "JobResumed JobCompleted JobKilled JobRestored JobCursorEdited JobPurged CommandRefused"
  ).split(" ");
  kinds.forEach((kind) => source.addEventListener(kind, later));
  let before = false;
  source.addEventListener("ready", () => {
    say("● live", "on");
    if (before) {
      later();
    }
    before = true;
  });
  source.addEventListener("error", () => say("○ reconnecting", "off"));
  document.addEventListener("visibilitychange", () => stale && !document.hidden && later());
})();
