"""Read short stories: guess the next word, then answer "where is mary?", which takes a memory.

    python demos/babi.py

People walk from place to place, as in the first bAbI task. The last of five words is mostly the toss of a coin: only "mary
went back to" has a sure end, and a published plain RNN gets 0.35 to 0.37 of them right. A question about a story has a right
answer, for a net that remembers who went where and forgets where they were before.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from command_line import finish, run

import pancake as pk

OUTPUT = Path("pictures", "babi.png")
PEOPLE = ["mary", "john", "daniel", "sandra"]
VERBS = ["moved to", "went to", "went back to", "journeyed to", "travelled to"]
PLACES = ["bathroom", "bedroom", "garden", "hallway", "kitchen", "office"]
WORDS = sorted({*PLACES, *PEOPLE, *" ".join(VERBS).split(), "the", "where", "is"})
CELLS = {"RNN": pk.RNNCell, "LSTM": pk.LSTMCell, "GRU": pk.GRUCell}
CEILING = (len(VERBS) - 1) / len(VERBS) / len(PLACES) + 1 / len(VERBS)
STEPS, TEST = 50, 1000  # of an epoch; stories to test with


def make_story(moves, rng):
    """The words of so many moves, and where everybody is in the end."""
    words, where = [], {}
    for person, verb, start, way in rng.integers([len(PEOPLE), len(VERBS), len(PLACES), len(PLACES) - 1], size=(moves, 4)):
        place = (where.get(PEOPLE[person], start) + 1 + way) % len(PLACES)  # any but where the person is
        where[PEOPLE[person]] = place
        words += [PEOPLE[person], *VERBS[verb].split(), "the", PLACES[place]]
    return words, where


def make_questions(n, rng):
    """Make n different stories of 2 to 5 moves and a question: words (n, T), lengths (n,), answers (n,)."""
    stories = {}
    while len(stories) < n:
        words, where = make_story(rng.integers(2, 6), rng)
        person = list(where)[rng.integers(len(where))]
        stories[(*words, "where", "is", person)] = where[person]
    lengths = np.array([len(story) for story in stories])
    x = [[WORDS.index(word) for word in story] + [0] * (lengths.max() - len(story)) for story in stories]
    return np.array(x), lengths, np.array(list(stories.values()))


def learn(name, n_hidden, n_out, optimizer, lr, batch_size, data, epochs, rng):
    """A net that has read all but the last stories, the short ones first; its share of right last answers to those."""
    x, lengths, y = data
    memory = pk.Unrolled(CELLS[name](16, n_hidden, rng=rng), return_sequences=y.ndim == 2)
    model = pk.Sequential([pk.Embedding(len(WORDS), 16, rng=rng), memory, pk.Linear(n_hidden, n_out, rng=rng)])
    optimizer, longest, right = optimizer(model, lr=lr), 16, []  # 16 words: two moves and the question
    for epoch in range(1, epochs + 1):
        optimizer.lr = lr * min(1, 3 * (1 - epoch / epochs) + 0.1)
        draws = rng.choice(np.flatnonzero(lengths[:-TEST] <= longest), (STEPS, batch_size))
        batches = [(x[rows, : lengths[rows].max()], y[rows], None, lengths[rows]) for rows in draws]
        history = pk.fit(model, pk.CrossEntropy(), optimizer, batches, epochs=1, clip_norm=1.0, progress=False)
        if history.interrupted:
            raise KeyboardInterrupt
        longest += 6 * (history["loss"][-1] < 0.4)  # when these are understood, longer ones
        answers = pk.predict(model, x[-TEST:], lengths=lengths[-TEST:]).argmax(axis=-1)
        right.append((answers == y[-TEST:]).reshape(TEST, -1)[:, -1].mean())
        if epoch % max(epochs // 5, 1) == 0:
            print(f"  {name:4} epoch {epoch:3}: loss {history['loss'][-1]:.3f}, right {right[-1]:.3f}")
    return model, right


def main(epochs=100, seed=0, output=OUTPUT, show=False):
    rng = np.random.default_rng(seed)
    print(f"The last of five words is mostly a place by lot: nobody can get more than {CEILING:.3f} right, but for luck.")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    words = np.array([[WORDS.index(word) for word in make_story(1, rng)[0][:5]] for _ in range(1000 + TEST)])
    beginnings = words[:, :-1], np.full(len(words), 4), words[:, 1:]  # for each word the next one
    for name in CELLS:
        model, right = learn(name, 16, len(WORDS), pk.SGD, 0.05, 4, beginnings, epochs, rng)
        axes[0].plot(range(1, epochs + 1), right, label=name)
        said = ["mary", "went", "back"]
        while len(said) < 6:
            said.append(WORDS[pk.predict(model, [[WORDS.index(word) for word in said]])[0, -1].argmax()])
        print(f"  {name:4} goes on: mary went back ... {' '.join(said[3:])}")

    x, lengths, places = questions = make_questions(20_000 + TEST, rng)
    simple = np.mean(np.array(WORDS)[x[range(-TEST, 0), lengths[-TEST:] - 4]] == np.array(PLACES)[places[-TEST:]])
    print(f"Where is mary? On {TEST} new stories, 'the last place in the story' is right for {simple:.1%}.")
    for name in CELLS:
        _, right = learn(name, 64, len(PLACES), pk.Adam, 6e-3, 32, questions, epochs, rng)
        axes[1].plot(range(1, epochs + 1), right, label=name)

    panels = [("the last of five words", CEILING, "all that can be known"), ("where is mary?", simple, "the last place")]
    for ax, (title, level, known) in zip(axes, panels, strict=True):
        ax.axhline(level, color="0.5", linestyle="--", label=known)
        if level == CEILING:  # who tosses the best coin is lucky, or not, with those stories of the test
            luck = 2 * np.sqrt(CEILING * (1 - CEILING) / TEST)
            ax.axhspan(CEILING - luck, CEILING + luck, color="0.5", alpha=0.15, linewidth=0, label="... and luck, two sigma")
        ax.set(title=title, xlabel="epoch", ylabel=f"share right, of {TEST} new ones")
        ax.set_ylim((0, 1.02) if ax is axes[1] else (0.1, 0.5))
        ax.legend()
    finish(figure, output, show, dpi=120)


if __name__ == "__main__":
    run(main, __doc__, epochs=f"of {STEPS} steps, of each of the two tasks", seed="of the stories and the initial weights")
