for (const gallery of document.querySelectorAll(".gallery")) {
  const all = [...gallery.querySelectorAll(".card")];
  const list = gallery.querySelector(".cards");
  const dialog = gallery.querySelector("dialog");
  const large = dialog.querySelector(".large");
  const buttons = [...gallery.querySelectorAll(".toggle button")];
  const chosen = (filter) => gallery.querySelector(`[data-filter=${filter}]`)?.value ?? "";
  const visible = () => [...list.children].filter((card) => !card.hidden);
  let enlarged = null;

  const view = (key) => {
    gallery.dataset.view = key;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === key));
    for (const figure of gallery.querySelectorAll("figure")) figure.hidden = key !== "all" && figure.dataset.view !== key;
  };

  const fits = (card) => {
    const [part, label, kind] = ["part", "class", "kind"].map(chosen);
    const errors = card.dataset.errors.split(" ").filter(Boolean).map((pair) => pair.split(":"));
    if (part && card.dataset.part !== part) return false;
    if (kind) return errors.some(([where, what]) => what === kind && (!label || where === label));
    return !label || card.dataset.class.split(" ").includes(label);
  };

  const filter = () => {
    for (const card of all) card.hidden = !fits(card);
    const count = visible().length;
    gallery.querySelector("output").textContent = `${count} of ${all.length}`;
    gallery.querySelector(".nothing").hidden = count > 0;
  };

  const number = (card, sign) => (card.dataset.order === "" ? Infinity : sign * Number(card.dataset.order));
  const orders = {
    given: (a, b) => a.dataset.place - b.dataset.place,
    rising: (a, b) => number(a, 1) - number(b, 1) || orders.given(a, b),
    falling: (a, b) => number(a, -1) - number(b, -1) || orders.given(a, b),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
  };

  const enlarge = (card) => {
    enlarged = card;
    const copy = card.cloneNode(true);
    for (const name of ["tabindex", "role"]) copy.removeAttribute(name);
    large.replaceChildren(copy);
    if (!dialog.open) dialog.showModal();
  };

  const move = (from, by) => {
    const shown = visible();
    const next = shown[shown.indexOf(from) + by];
    if (!next) return;
    if (dialog.open) enlarge(next);
    else next.focus();
  };

  const columns = () => {
    const shown = visible();
    const top = shown[0]?.offsetTop;
    return Math.max(1, shown.filter((card) => card.offsetTop === top).length);
  };

  for (const button of buttons) button.addEventListener("click", () => view(button.dataset.view));
  for (const select of gallery.querySelectorAll("[data-filter]")) select.addEventListener("change", filter);
  gallery.querySelector("[data-sort]").addEventListener("change", (event) => {
    list.append(...[...all].sort(orders[event.target.value]));
  });
  gallery.querySelector("[data-opacity]").addEventListener("input", (event) => {
    gallery.style.setProperty("--opacity", event.target.value / 100);
  });
  list.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (card) enlarge(card);
  });
  dialog.addEventListener("close", () => enlarged?.focus());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  gallery.addEventListener("keydown", (event) => {
    if (event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const views = ["all", ...buttons.slice(1).map((button) => button.dataset.view)];
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
    const card = dialog.open ? enlarged : event.target.closest(".card");
    if (views[event.key]) view(views[event.key]);
    else if (card && event.key in steps) move(card, dialog.open ? Math.sign(steps[event.key]) : steps[event.key]);
    else if (card && !dialog.open && (event.key === "Enter" || event.key === " ")) enlarge(card);
    else return;
    event.preventDefault();
  });
}
