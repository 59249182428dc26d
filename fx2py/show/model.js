"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const { modules, functions, weights } = JSON.parse(byId("data").textContent);
  const body = document.body;
  const wide = matchMedia("(min-width: 60rem)");
  document.documentElement.classList.add("js");

  const numberOf = new Map(modules.map((module, number) => [module.path, number]));
  const rows = modules.map((_, number) => byId(`m${number}`));
  const parents = modules.map(() => -1);
  modules.forEach((module, number) => module.children.forEach((child) => { parents[child] = number; }));
  const instancesOf = (name) => modules.flatMap((each, number) => (each.function === name && !each.inline && each.class ? [number] : []));
  const sections = new Map([...document.querySelectorAll(".fn[data-f]")].map((each) => [each.dataset.f, each]));
  let here = 0;

  function make(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

  // -- views

  const tabs = [...document.querySelectorAll("[data-tab][role=tab]")];

  function view(name) {
    body.dataset.tab = name;
    for (const tab of tabs) {
      const isOn = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", isOn);
      tab.tabIndex = isOn ? 0 : -1;
    }
  }

  for (const tab of tabs) {
    tab.addEventListener("click", () => view(tab.dataset.tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const shown = tabs.filter((each) => each.offsetParent);
      const next = shown[(shown.indexOf(tab) + step + shown.length) % shown.length];
      view(next.dataset.tab);
      next.focus();
    });
  }

  wide.addEventListener("change", () => { if (wide.matches && body.dataset.tab === "modules") view("code"); });

  // -- the tree

  const tree = byId("tree");
  tree.setAttribute("role", "tree");
  rows.forEach((row, number) => {
    row.setAttribute("role", "treeitem");
    row.setAttribute("aria-level", modules[number].depth + 1);
    row.setAttribute("aria-selected", "false");
    row.tabIndex = -1;
    row.querySelector("a").tabIndex = -1;
    if (modules[number].children.length) {
      row.classList.add("folds");
      row.setAttribute("aria-expanded", modules[number].depth < 2 && modules[number].class !== "");
    }
  });

  const isOpen = (number) => rows[number].getAttribute("aria-expanded") === "true";
  const isShown = (number) => !rows[number].hidden;

  function unfold(number, isWanted) {
    if (modules[number].children.length) rows[number].setAttribute("aria-expanded", isWanted);
    layOut();
  }

  function layOut() {
    rows.forEach((row, number) => {
      const outer = parents[number];
      row.hidden = outer >= 0 && (rows[outer].hidden || !isOpen(outer));
    });
  }

  function focusRow(number) {
    rows[number].focus();
    show(number, { isStep: true });
  }

  const moves = {
    ArrowDown: (at, shown) => shown[shown.indexOf(at) + 1],
    ArrowUp: (at, shown) => shown[shown.indexOf(at) - 1],
    Home: (at, shown) => shown[0],
    End: (at, shown) => shown[shown.length - 1],
    ArrowRight(at) {
      if (!modules[at].children.length) return undefined;
      if (isOpen(at)) return modules[at].children[0];
      unfold(at, true);
      return at;
    },
    ArrowLeft(at) {
      if (!isOpen(at)) return parents[at] < 0 ? undefined : parents[at];
      unfold(at, false);
      return at;
    },
  };

  tree.addEventListener("keydown", (event) => {
    const at = rows.indexOf(event.target.closest("li"));
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = modules.map((_, number) => number).filter(isShown);
    let next;
    if (event.key in moves) next = moves[event.key](at, shown);
    else if (event.key === "Enter" || event.key === " ") {
      show(at, { isChosen: true });
      byId("text").focus({ preventScroll: true });
    } else if (event.key.length === 1 && event.key !== "/") {
      const from = shown.indexOf(at) + 1;
      const around = [...shown.slice(from), ...shown.slice(0, from)];
      next = around.find((number) => rows[number].querySelector(".name").textContent.toLowerCase().startsWith(event.key.toLowerCase()));
    } else return;
    event.preventDefault();
    if (next !== undefined) focusRow(next);
  });

  tree.addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (!row) return;
    event.preventDefault();
    const number = rows.indexOf(row);
    if (event.target.closest(".fold")) unfold(number, !isOpen(number));
    else {
      rows[number].focus({ preventScroll: true });
      show(number, { isChosen: true });
    }
  });

  // -- one module

  /** Shows a module: its row, its card and its lines. ``isStep``: of many; the browser keeps no way back to it. */
  function show(number, { isStep = false, isChosen = false, isRouted = false } = {}) {
    here = number;
    const module = modules[number];
    for (let outer = parents[number]; outer >= 0; outer = parents[outer]) rows[outer].setAttribute("aria-expanded", "true");
    layOut();
    rows.forEach((row, each) => {
      row.setAttribute("aria-selected", each === number);
      row.tabIndex = each === number ? 0 : -1;
      row.classList.toggle("same", each !== number && module.function !== "" && !module.inline && module.class !== "" && modules[each].function === module.function && !modules[each].inline);
    });
    rows[number].scrollIntoView({ block: "nearest" });
    fillCard(module);
    if (!isRouted) {
      const place = `#/${encodeURIComponent(module.path)}`;
      if (isStep) history.replaceState(null, "", place);
      else if (location.hash !== place) history.pushState(null, "", place);
    }
    if (wide.matches ? !["modules", "code"].includes(body.dataset.tab) && isChosen : isChosen) view("code");
    showLines(module);
  }

  function showLines(module) {
    for (const line of document.querySelectorAll(".l.hit")) line.classList.remove("hit");
    for (const section of sections.values()) section.classList.toggle("here", section.dataset.f === module.function);
    if (module.inline && module.lines.length) {
      for (const [first, last] of module.lines) for (let line = first; line <= last; line++) byId(`L${line}`)?.classList.add("hit");
      reveal(byId(`L${module.lines[0][0]}`), "center");
    } else if (sections.has(module.function)) reveal(sections.get(module.function), "start");
  }

  function reveal(element, block) {
    if (!element) return;
    element.scrollIntoView({ block, inline: "nearest" });
    requestAnimationFrame(() => element.scrollIntoView({ block, inline: "nearest" })); // what was not laid out yet has a size now
  }

  function weightsOf(module) {
    const prefix = module.path ? `${module.path}.` : "";
    return weights.filter(([name]) => name.startsWith(prefix)).map(([name, dtype, shape]) => [name.slice(prefix.length), dtype, shape]);
  }

  const MOST_WEIGHTS = 24;

  function fillCard(module) {
    const card = byId("card");
    const cls = module.class.split(".").pop();
    const facts = [];
    if (module.function) {
      const spans = module.lines.length ? module.lines : [];
      const where = spans.map(([first, last]) => (first === last ? first : `${first}–${last}`)).join(", ");
      const link = make("button", { type: "button" }, module.function);
      link.addEventListener("click", () => showFunction(module.function));
      facts.push([module.inline ? "inline in " : "", link, where && `, line${where.includes("–") || where.includes(",") ? "s" : ""} ${where}`]);
    }
    const same = module.inline || !module.class ? 0 : instancesOf(module.function).length;
    if (same > 1) facts.push([`serves ${same} modules`]);
    if (module.calls > 1) facts.push([`called ${module.calls} times`]);
    if (module.operators) facts.push([counted(module.operators, "operator call")]);
    if (module.parameters) facts.push([counted(module.parameters, "parameter")]);
    const line = make("p");
    facts.forEach((fact, place) => line.append(place ? " · " : "", ...fact));
    const parts = [make("h2", {}, module.path || "(model)", " ", make("span", { title: module.class }, cls)), line];
    if (module.inputs.length || module.outputs.length) {
      parts.push(make("p", {}, make("code", {}, module.inputs.join(", ") || "nothing"), " → ", make("code", {}, module.outputs.join(", ") || "nothing")));
    }
    const own = weightsOf(module);
    if (own.length && module.path) {
      const shown = own.slice(0, MOST_WEIGHTS).map(([name, dtype, shape]) => make("li", {}, name, " ", make("span", {}, `${dtype} ${shape.join("×") || "scalar"}`)));
      if (own.length > MOST_WEIGHTS) {
        const more = make("button", { type: "button" }, `${own.length - MOST_WEIGHTS} more`);
        more.addEventListener("click", () => view("weights"));
        shown.push(make("li", {}, more));
      }
      parts.push(make("ul", {}, ...shown));
    }
    card.replaceChildren(...parts);
    card.hidden = false;
  }

  // -- the code

  /** The module whose code a place in the text is: the one shown if its function is there, else the first that has it. */
  function around(element) {
    const name = element.closest(".fn")?.dataset.f;
    for (let number = here; number >= 0; number = parents[number]) {
      if (modules[number].function === name && !modules[number].inline && modules[number].class) return number;
    }
    return instancesOf(name)[0] ?? 0;
  }

  function nearest(number, name) {
    return modules[number].children.flatMap((child) => {
      const module = modules[child];
      const isOwn = module.class !== "" && !module.inline;
      return isOwn ? (module.function === name ? [child] : []) : nearest(child, name);
    });
  }

  function showFunction(name) {
    const instances = instancesOf(name);
    if (instances.includes(here) || !instances.length) {
      view("code");
      reveal(sections.get(name), "start");
    } else show(instances[0], { isChosen: true });
  }

  function follow(link) {
    const name = link.dataset.f;
    const caller = link.closest(".fn")?.dataset.f;
    const sites = caller ? functions[caller].calls.filter(([called]) => called === name) : [];
    const line = Number(link.closest(".l").dataset.n);
    const place = sites.findIndex(([, at]) => at === line);
    const candidates = nearest(around(link), name);
    const next = candidates.length > sites.length ? candidates[0] : candidates[Math.min(place, candidates.length - 1)];
    if (next === undefined) showFunction(name);
    else show(next, { isChosen: true });
  }

  function followWeight(element) {
    const outer = modules[around(element)].path;
    const steps = [...(outer ? outer.split(".") : []), ...element.dataset.w.split(".").map((step) => (step === "*" ? "0" : step))];
    while (steps.length && !numberOf.has(steps.join("."))) steps.pop();
    show(numberOf.get(steps.join(".")) ?? 0, { isChosen: true });
  }

  const text = byId("text");
  const namesIn = new WeakMap();
  let pinned = null;
  let lit = [];

  function uses(element) {
    const section = element.closest(".fn");
    if (!namesIn.has(section)) {
      const found = new Map();
      for (const each of section.querySelectorAll(".v, .w")) {
        if (!found.has(each.textContent)) found.set(each.textContent, []);
        found.get(each.textContent).push(each);
      }
      namesIn.set(section, found);
    }
    return namesIn.get(section).get(element.textContent) ?? [];
  }

  function light(elements) {
    for (const each of lit) each.classList.remove("use");
    lit = elements;
    for (const each of lit) each.classList.add("use");
  }

  text.addEventListener("pointerover", (event) => {
    const name = event.target.closest(".v, .w");
    if (name) light(uses(name));
    else if (lit.length) light(pinned ? uses(pinned) : []);
  });
  text.addEventListener("pointerleave", () => light(pinned ? uses(pinned) : []));

  text.addEventListener("click", (event) => {
    const link = event.target.closest(".f, .fname, .w, .v");
    if (!link || (event.target.closest("a") && (event.ctrlKey || event.metaKey))) return;
    if (link.matches(".v")) {
      pinned = pinned === link ? null : link;
      light(pinned ? uses(pinned) : []);
      return;
    }
    event.preventDefault();
    if (link.matches(".f")) follow(link);
    else if (link.matches(".fname")) showFunction(link.textContent);
    else if (getSelection().isCollapsed) followWeight(link);
  });

  function goToLine(line) {
    const element = byId(`L${line}`);
    if (!element) return;
    view("code");
    const name = element.closest(".fn")?.dataset.f;
    const number = modules[here].function === name ? here : instancesOf(name)[0];
    if (number !== undefined && number !== here) show(number, { isRouted: true });
    for (const each of document.querySelectorAll(".l.hit")) each.classList.remove("hit");
    element.classList.add("hit");
    reveal(element, "center");
  }

  // -- tables

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const isUp = head.getAttribute("aria-sort") !== "ascending";
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
        sort(table.tBodies[0], column, isUp ? 1 : -1);
      });
    });
  }

  function sort(tbody, column, sign) {
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.k === undefined ? cell.textContent : Number(cell.dataset.k);
    };
    const keyed = [...tbody.rows].map((row) => [key(row), row]);
    keyed.sort(([one], [other]) => sign * (typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true })));
    tbody.append(...keyed.map(([, row]) => row));
  }

  document.querySelector("main").addEventListener("click", (event) => {
    const link = event.target.closest("[data-m], [data-q]");
    if (!link) return;
    event.preventDefault();
    if (link.dataset.m !== undefined) show(Number(link.dataset.m), { isChosen: true });
    else {
      input.value = link.dataset.q;
      input.focus();
      find();
    }
  });

  // -- search

  const input = byId("search");
  const list = byId("found");
  const MOST = { module: 12, function: 6, weight: 8, line: 14 };
  let results = [];
  let chosen = -1;
  let lines = null;

  /** The first items that have every word, those first that have them in the last part of their path. */
  function matching(kind, items, words) {
    const [first, later] = [[], []];
    for (const item of items) {
      const lower = item.text.toLowerCase();
      if (!words.every((word) => lower.includes(word))) continue;
      const last = item.what.slice(item.what.lastIndexOf(".") + 1).toLowerCase();
      (words.every((word) => last.includes(word)) ? first : later).push({ kind, ...item });
      if (first.length === MOST[kind]) break;
    }
    return [...first, ...later].slice(0, MOST[kind]);
  }

  function* moduleItems() {
    for (const [number, module] of modules.entries()) {
      if (module.class) yield { text: `${module.path || "(model)"} ${module.class.split(".").pop()}`, what: module.path || "(model)", more: module.class.split(".").pop(), go: () => show(number, { isChosen: true }) };
    }
  }

  function* functionItems() {
    for (const [name, { lines: [first, last] }] of Object.entries(functions)) yield { text: name, what: name, more: `lines ${first}–${last}`, go: () => showFunction(name) };
  }

  function* weightItems() {
    for (const [name, dtype, shape] of weights) {
      yield { text: name, what: name, more: `${dtype} ${shape.join("×") || "scalar"}`, go: () => {
        const steps = name.split(".");
        while (steps.length && !numberOf.has(steps.join("."))) steps.pop();
        show(numberOf.get(steps.join(".")) ?? 0, { isChosen: true });
      } };
    }
  }

  function* lineItems() {
    lines ??= [...document.querySelectorAll(".l")].map((each) => [each.dataset.n, each.textContent.trim()]);
    for (const [number, line] of lines) yield { text: line, what: line, more: `line ${number}`, go: () => goToLine(number) };
  }

  function find() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    results = words.length
      ? [...matching("module", moduleItems(), words), ...matching("function", functionItems(), words), ...matching("weight", weightItems(), words), ...matching("line", lineItems(), words)]
      : [];
    list.replaceChildren(...results.map((each, place) => {
      const item = make("li", { id: `r${place}` }, make("span", { className: "kind" }, each.kind), make("span", { className: "what" }, each.what), make("span", { className: "more" }, each.more));
      item.setAttribute("role", "option");
      item.addEventListener("pointerdown", (event) => event.preventDefault());
      item.addEventListener("click", () => take(place));
      return item;
    }));
    if (words.length && !results.length) list.append(make("li", {}, make("span", { className: "more" }, "Nothing found.")));
    choose(results.length ? 0 : -1);
    open(words.length > 0);
  }

  function open(isWanted) {
    list.hidden = !isWanted;
    input.setAttribute("aria-expanded", isWanted);
  }

  function choose(place) {
    chosen = place;
    [...list.children].forEach((each, at) => each.setAttribute("aria-selected", at === place));
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `r${place}`);
      list.children[place].scrollIntoView({ block: "nearest" });
    }
  }

  function take(place) {
    open(false);
    input.blur();
    results[place].go();
    if (results[place].kind === "module" && wide.matches) rows[here].focus({ preventScroll: true });
    else text.focus({ preventScroll: true });
  }

  input.addEventListener("input", find);
  input.addEventListener("focus", () => { if (input.value) find(); });
  input.addEventListener("blur", () => open(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && results.length) choose((chosen + step + results.length) % results.length);
    else if (event.key === "Enter" && chosen >= 0) take(chosen);
    else if (event.key === "Escape") {
      input.value = "";
      find();
      input.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input, textarea");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    } else if (event.key === "Escape" && !isTyping) {
      pinned = null;
      light([]);
    }
  });

  // -- where the address leads

  function route() {
    let place = "";
    try { place = decodeURIComponent(location.hash.slice(1)); } catch { /* no address of this page */ }
    const line = /^L(\d+)$/.exec(place);
    if (line) goToLine(Number(line[1]));
    else show(place.startsWith("/") ? numberOf.get(place.slice(1)) ?? 0 : 0, { isRouted: true, isChosen: place.startsWith("/") });
  }

  view(wide.matches ? "code" : "modules");
  layOut();
  addEventListener("popstate", route);
  route();
})();
