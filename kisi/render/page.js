"use strict";
(() => {
  const table = document.querySelector("table.index");
  const [find, state, count] = ["find", "state", "count"].map((id) => document.getElementById(id));
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const text = (row, column) => row.cells[column].textContent.trim();

  const show = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const all = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => all.includes(word)) ||
        Boolean(state.value) && row.dataset.state !== state.value;
      document.getElementById(row.dataset.section).hidden = row.hidden;
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };

  const number = (value) => {
    const read = parseFloat(value);
    return Number.isNaN(read) ? -Infinity : read;
  };
  const sort = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const values = rows.map((row) => text(row, column));
    const numeric = column > 0 && values.every((value) => !value || /^\d/.test(value)) &&
      !values.some((value) => /^\d{4}-\d\d-\d\d/.test(value));
    const compare = (a, b) => numeric
      ? number(text(a, column)) - number(text(b, column))
      : text(a, column).localeCompare(text(b, column), undefined, { numeric: true });
    const sorted = [...rows].sort((a, b) => (down ? -1 : 1) * compare(a, b));
    body.replaceChildren(...sorted);
  };

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(head, column));
    head.replaceChildren(button);
  });
  for (const value of new Set(rows.map((row) => row.dataset.state))) {
    const option = document.createElement("option");
    option.value = option.textContent = value;
    state.append(option);
  }
  find.addEventListener("input", show);
  state.addEventListener("change", show);
  document.querySelector(".controls").hidden = false;
  show();
})();
