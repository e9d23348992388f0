// SPDX-License-Identifier: GPL-2.0-only
// Search in the page: names first, then words of the text.  INDEX is index.js's: [title, address, where, summary, text].
"use strict";

(function () {
    const LIMIT = 30;
    const input = document.querySelector(".search input");
    const list = document.querySelector(".results");
    let chosen = -1;

    document.querySelector(".search").hidden = false;
    const side = document.querySelector("nav.side details");
    if (side && matchMedia("(max-width: 56rem)").matches)
        side.open = false;

    // Smaller is better; -1: no match.
    function rank(entry, words) {
        const title = entry[0].toLowerCase();
        let sum = 0;
        for (const word of words) {
            const at = title.indexOf(word);
            if (title === word || title === word + "()")
                sum += 0;
            else if (at === 0)
                sum += 10;
            else if (at > 0)
                sum += /[\s_]/.test(title[at - 1]) ? 20 : 30;
            else if (entry[3].toLowerCase().includes(word))
                sum += 60;
            else if (entry[4].includes(word))
                sum += 100 + Math.min(entry[4].length / 50, 60);
            else
                return -1;
        }
        return sum + Math.min(title.length, 60) / 100;
    }

    function marked(text, words) {
        const node = document.createElement("span");
        const pattern = new RegExp("(" + words.map((w) => w.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")", "ig");
        text.split(pattern).forEach((piece, i) => {
            const part = i % 2 ? document.createElement("mark") : document.createTextNode(piece);
            if (i % 2)
                part.textContent = piece;
            node.append(part);
        });
        return node;
    }

    // The words around the first that matched, where the summary has none.
    function excerpt(entry, words) {
        if (words.some((word) => entry[0].toLowerCase().includes(word) || entry[3].toLowerCase().includes(word)))
            return entry[3];
        const at = entry[4].indexOf(words[0]);
        return at < 0 ? entry[3] : (at > 30 ? "… " : "") + entry[4].slice(Math.max(0, at - 30), at + 90) + " …";
    }

    function show() {
        const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        list.replaceChildren();
        chosen = -1;
        list.hidden = words.length === 0;
        input.setAttribute("aria-expanded", String(!list.hidden));
        if (list.hidden)
            return;
        const found = INDEX.map((entry) => [rank(entry, words), entry]).filter((pair) => pair[0] >= 0);
        found.sort((a, b) => a[0] - b[0]);
        for (const [, entry] of found.slice(0, LIMIT)) {
            const item = document.createElement("li");
            const link = document.createElement("a");
            const where = document.createElement("span");
            const about = document.createElement("small");
            link.href = entry[1];
            where.className = "where";
            where.textContent = "  " + entry[2];
            about.append(marked(excerpt(entry, words), words));
            link.append(marked(entry[0], words), where, about);
            item.setAttribute("role", "option");
            item.append(link);
            list.append(item);
        }
        const rest = document.createElement("li");
        rest.className = "none";
        if (found.length === 0)
            rest.textContent = "Nothing has “" + input.value.trim() + "”.";
        else if (found.length > LIMIT)
            rest.textContent = found.length - LIMIT + " more";
        if (rest.textContent)
            list.append(rest);
    }

    function choose(step) {
        const items = list.querySelectorAll("[role=option]");
        if (items.length === 0)
            return;
        if (chosen >= 0)
            items[chosen].removeAttribute("aria-selected");
        chosen = (chosen + step + items.length) % items.length;
        items[chosen].setAttribute("aria-selected", "true");
        items[chosen].scrollIntoView({ block: "nearest" });
    }

    function leave() {
        list.hidden = true;
        input.setAttribute("aria-expanded", "false");
    }

    input.addEventListener("input", show);
    input.addEventListener("focus", show);
    input.addEventListener("keydown", (event) => {
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            choose(event.key === "ArrowDown" ? 1 : -1);
            event.preventDefault();
        } else if (event.key === "Enter") {
            const link = list.querySelector(chosen >= 0 ? "[aria-selected=true] a" : "a");
            if (link)
                link.click();
        } else if (event.key === "Escape") {
            leave();
            input.blur();
        }
    });
    list.addEventListener("click", leave);
    document.addEventListener("click", (event) => {
        if (!event.target.closest(".search"))
            leave();
    });
    document.addEventListener("keydown", (event) => {
        if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) {
            input.focus();
            event.preventDefault();
        }
    });
})();
