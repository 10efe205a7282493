"use strict";
{
  const find = (id) => document.getElementById(id);
  for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;
  for (const part of document.querySelectorAll("[data-without-script]")) part.hidden = true;

  const task = find("task");
  if (task) {
    task.addEventListener("change", () => {
      for (const part of document.querySelectorAll("[data-task]")) {
        part.hidden = task.value !== "" && part.dataset.task !== task.value;
      }
    });
  }

  // Paper has no way to open them.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not([open])")) {
      part.open = true;
      opened.push(part);
    }
  });
  addEventListener("afterprint", () => {
    while (opened.length) opened.pop().open = false;
  });

  // Examples. A row is [run, attack, broken, id, [label, label after], [confidence in the right label before, after],
  // texts, number of the attacked text, changes]; a change is [start, stop, what stands there instead], in characters.
  const PAGE = 8;
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const marked = (text, changes) => {
    const line = make("p");
    line.dir = "auto";
    const letters = Array.from(text); // whole characters, as they are counted where the page is made
    const piece = (start, stop) => letters.slice(start, stop).join("");
    let at = 0;
    for (const [start, stop, after] of changes) {
      line.append(piece(at, start));
      const both = make("mark");
      if (stop > start) both.append(make("del", piece(start, stop)));
      both.append(stop > start ? " → " : "+ ");
      both.append(after ? make("ins", after) : "(nothing)");
      line.append(both);
      at = stop;
    }
    line.append(piece(at));
    return line;
  };
  const shown = (data, row) => {
    const [run, attack, broken, id, labels, sure, texts, column, changes] = row;
    const part = make("article", "", broken ? "broken" : "held");
    const what = broken ? `Broken: ${labels[0]}, taken for ${labels[1]}` : `Held: ${labels[0]}`;
    part.append(make("h3", what));
    const about = data.runs[run];
    const told = `${about.task}, ${about.name}; ${data.attacks[attack]}; row ${id}; confidence in ${labels[0]} `;
    part.append(make("p", `${told}${sure[0]}% → ${sure[1]}%`, "note"));
    texts.forEach((number, i) => part.append(marked(data.texts[number], i === column ? changes : [])));
    return part;
  };

  const start = () => {
    const data = JSON.parse(find("data").textContent);
    const controls = ["by-run", "by-attack", "by-outcome", "by-text"].map(find);
    const [byRun, byAttack, byOutcome, byText] = controls;
    const option = (name, value) => {
      const element = make("option", name);
      element.value = value;
      return element;
    };
    const groups = new Map();
    const used = new Set(data.rows.map((row) => row[0]));
    data.runs.forEach((run, i) => {
      if (!used.has(i)) return;
      if (!groups.has(run.task)) {
        const group = make("optgroup");
        group.label = run.task;
        groups.set(run.task, group);
        byRun.append(group);
      }
      groups.get(run.task).append(option(run.name, i));
    });
    data.attacks.forEach((name, i) => byAttack.append(option(name, i)));

    let first = 0;
    const show = () => {
      const wanted = byText.value.toLowerCase();
      const fits = (row) =>
        (byRun.value === "" || row[0] === Number(byRun.value)) &&
        (byAttack.value === "" || row[1] === Number(byAttack.value)) &&
        (byOutcome.value === "" || row[2] === Number(byOutcome.value)) &&
        (wanted === "" ||
          row[6].some((number) => data.texts[number].toLowerCase().includes(wanted)) ||
          row[8].some((change) => change[2].toLowerCase().includes(wanted)));
      const rows = data.rows.filter(fits);
      first = Math.max(0, Math.min(first, rows.length - 1));
      first -= first % PAGE;
      const page = rows.slice(first, first + PAGE);
      find("list").replaceChildren(...page.map((row) => shown(data, row)));
      find("count").textContent = rows.length
        ? `Examples ${first + 1} to ${first + page.length} of ${rows.length}`
        : "No example fits";
      find("previous").disabled = first === 0;
      find("next").disabled = first + PAGE >= rows.length;
    };
    for (const control of controls) {
      control.addEventListener("input", () => {
        first = 0;
        show();
      });
    }
    find("filter").addEventListener("submit", (event) => event.preventDefault());
    find("previous").addEventListener("click", () => {
      first -= PAGE;
      show();
    });
    find("next").addEventListener("click", () => {
      first += PAGE;
      show();
    });
    show();
  };
  if (find("data")) start();
}
