"""Film a net while it learns three spirals: the boundary, and the loss beside it.

    python demos/animation.py
    python demos/animation.py --output spirals.mp4      where ffmpeg is installed

`animate_training` makes the callback that takes the pictures; in a loop of one's own it is called with the loss.
"""

from pathlib import Path

from command_line import run
from matplotlib.animation import FFMpegWriter
from matplotlib.figure import Figure

from pancake import Adam, CrossEntropy, Tanh, animate_training, cosine, datasets, fit, mlp

OUTPUT = Path("pictures", "animation.gif")
BATCH = 50


def main(epochs=200, frames=50, seed=0, output=OUTPUT, show=False):
    X, y = datasets.spirals(200, arms=3, turns=0.9, noise=0.04, rng=seed)
    X_test, y_test = datasets.spirals(100, arms=3, turns=0.9, noise=0.04, rng=seed + 1)
    model = mlp([2, 32, 32, 3], activation=Tanh, rng=seed)
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    film = animate_training(model, X, y, X_test=X_test, y_test=y_test, every=max(epochs // frames, 1), figure=figure)

    def tell(state):
        if state.epoch % max(epochs // 10, 1) == 0:
            print(f"epoch {state.epoch:4}: loss {state.history['loss'][-1]:.4f}, {len(film.frames)} pictures")

    optimizer, schedule = Adam(model), cosine(0.01, epochs * -(-len(X) // BATCH))
    options = {"batch_size": BATCH, "schedule": schedule, "rng": seed, "progress": False}
    history = fit(model, CrossEntropy(), optimizer, X, y, epochs=epochs, callbacks=[film, tell], **options)
    if history.interrupted:
        raise KeyboardInterrupt

    film.show_frame(-1)
    print(f"{film.axes[0].get_title()}; drawing {len(film.frames)} pictures")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    film.save(output)
    print(f"wrote {output}")
    if show:
        import webbrowser

        webbrowser.open(Path(output).resolve().as_uri())  # matplotlib shows no files


if __name__ == "__main__":
    run(
        main,
        __doc__,
        suffixes=(".gif", ".mp4") if FFMpegWriter.isAvailable() else (".gif",),
        epochs="passes through the 200 points",
        frames="pictures, about",
        seed="of the points, the initial weights and the order",
    )
