// Beside a new password: which of its rules are met. The server checks them all; without this file they are only listed.
"use strict";

(() => {
  const list = document.querySelector("[data-rules]");
  const field = document.querySelector("input[autocomplete=new-password]");
  if (!list || !field) return;

  // As `MinimumLength` and `CharacterClasses` in profiles/account/passwords.py count them.
  const classOf = (character) => {
    if (/\p{Lowercase}/u.test(character)) return "lower";
    if (/\p{Uppercase}/u.test(character)) return "upper";
    return /\p{Nd}/u.test(character) ? "digit" : "other";
  };
  const count = {
    length: (password) => [...password].length,
    classes: (password) => new Set([...password].map(classOf)).size,
  };
  const rules = [...list.querySelectorAll("[data-check]")];

  let waiting;
  const check = () => {
    const changed = rules.filter((rule) => {
      const met = count[rule.dataset.check](field.value.normalize()) >= Number(rule.dataset.least);
      if (met === rule.classList.contains("met")) return false;
      rule.classList.toggle("met", met);
      rule.querySelector("strong").hidden = !met;
      return true;
    });
    if (!changed.length) return;
    // When typing pauses, so that not every letter is talked over.
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      window.announce(rules.map((rule) => {
        const text = rule.querySelector("span").textContent;
        return list.dataset[rule.classList.contains("met") ? "met" : "unmet"].replace("%s", text);
      }).join(" "));
    }, 700);
  };
  field.addEventListener("input", check);
  check(); // what the browser filled in before
})();
