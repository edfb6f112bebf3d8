// Before anything is painted: the colours that were chosen last time. Without a choice the system's count.
"use strict";
{
  const ORDER = ["auto", "light", "dark"];
  const NAMES = { auto: "as the system", light: "light", dark: "dark" };
  const root = document.documentElement;

  const read = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const keep = theme => { try { localStorage.setItem("theme", theme); } catch { /* a private window forgets */ } };

  const wear = theme => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.ariaLabel = button.title = `Colours: ${NAMES[theme]}`;
  };

  wear(ORDER.includes(read()) ? read() : "auto");
  addEventListener("DOMContentLoaded", () => {
    wear(root.dataset.theme);
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
      wear(next);
      keep(next);
    });
  });
}
