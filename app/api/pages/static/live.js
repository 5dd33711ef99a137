// Follows events and fetches the page again when one arrives; only the server renders. Without it, reload manually.
"use strict";
(() => {
  const state = document.getElementById("live");
  const job = location.pathname.match(/^\/job\/([^/]+)$/);
  const stream = "/v2/events" + (job ? "?job_id=" + job[1] : "");
  const REFRESH_DELAY_MS = 400;
  let timer = 0;
  let stale = false;

  const showState = (text, kind) => {
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
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok || response.redirected) {
      return;
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    document.title = fresh.title;
    for (const part of document.querySelectorAll("[data-live]")) {
      const replacement = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
      const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (replacement && !busy && replacement.innerHTML !== part.innerHTML) {
        part.replaceChildren(...replacement.childNodes);
      }
    }
  };

  const scheduleRefresh = () => {
    timer = timer || setTimeout(() => refresh().catch(() => showState("offline", "off")), REFRESH_DELAY_MS);
  };

  const source = new EventSource(stream);
  const kinds = (
    "JobCreated JobRenamed JobConfigured JobStarted JobProgressed JobSynced JobErrored JobSlept JobFailed JobPaused " +
    "JobResumed JobCompleted JobKilled JobRestored JobCursorEdited JobPurged CommandRefused JobQueued JobDequeued"
  ).split(" ");
  kinds.forEach((kind) => source.addEventListener(kind, scheduleRefresh));
  let wasConnected = false;
  source.addEventListener("ready", () => {
    showState("● live", "on");
    if (wasConnected) {
      scheduleRefresh();
    }
    wasConnected = true;
  });
  source.addEventListener("error", () => showState("○ reconnecting", "off"));
  document.addEventListener("visibilitychange", () => stale && !document.hidden && scheduleRefresh());
})();
