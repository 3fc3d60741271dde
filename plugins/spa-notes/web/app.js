const list = document.getElementById("notes");
const form = document.querySelector("form");

function show(note) {
  const item = document.createElement("li");
  item.textContent = note.text + " ";
  const remove = document.createElement("button");
  remove.textContent = "✕";
  remove.onclick = async () => {
    const answer = await fetch("api/notes/" + note.id, { method: "DELETE" });
    if (answer.ok) item.remove();
  };
  item.append(remove);
  list.append(item);
}

form.onsubmit = async (event) => {
  event.preventDefault();
  const answer = await fetch("api/notes", {
    method: "POST",
    body: JSON.stringify({ text: form.text.value }),
  });
  if (answer.ok) show(await answer.json());
  form.reset();
};

fetch("api/notes").then((answer) => answer.json()).then((notes) => notes.forEach(show));
