// What the pages do beyond htmx: forms that show themselves when something is
// chosen, and a word when the server is gone.
"use strict";

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (!form || event.target.matches("input:not([type=radio])")) return;
  const reset = event.target.dataset.reset;
  if (reset && form.elements[reset]) form.elements[reset].disabled = true; // chosen for another site
  form.requestSubmit();
});

// An empty choice has no business in the address.
document.addEventListener("submit", (event) => {
  for (const field of event.target.elements) {
    if (field.name && field.value === "") field.disabled = true;
  }
});

const offline = (gone) => { document.getElementById("offline").hidden = !gone; };
document.addEventListener("htmx:error", () => offline(true));
document.addEventListener("htmx:after:request", () => offline(false));

// A page that comes back from the history must not keep fields switched off.
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[data-auto] [disabled]")) field.disabled = false;
});
