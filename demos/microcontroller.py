"""Read handwritten digits on a microcontroller: from training to the printed answer, on simulated boards of 2 KB and of 64 KB.

    python demos/microcontroller.py
    python demos/microcontroller.py --weights float32 --folder on_board

The net 64-32-10 is trained on the 8 x 8 pictures that come with scikit-learn, and leaves as a header of C by
`pancake.export.to_c`. demos/boards/main.c reads a few pictures with it, on an ATmega328P (as on an Arduino Uno; avr-gcc and
simavr), on a Cortex-M4F (arm-none-eabi-gcc and qemu-system-arm) and on this computer (gcc). What is not installed is left out;
on Debian: apt-get install gcc-avr avr-libc simavr gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
"""

import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from command_line import run

import pancake as pk
from pancake.export import to_c

NEEDED = "the pictures of digits come with scikit-learn: pip install scikit-learn"

SOURCES = Path(__file__).parent / "boards"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
CORTEX = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffunction-sections", "-fdata-sections"]
QEMU = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting-config", "enable=on,target=native", "-kernel"]
LINKED = ["-Wl,--gc-sections", "-nostartfiles", "--specs=nosys.specs", "-T", "cortex_m4.ld"]

# The compiler, its options, what tells the size, and what runs the program.
BOARDS = {
    "ATmega328P": ("avr-gcc", ["-Os", "-mmcu=atmega328p"], "avr-size", ["simavr", "-m", "atmega328p", "-f", "16000000"]),
    "Cortex-M4F": ("arm-none-eabi-gcc", ["-Os", *CORTEX, *LINKED], "arm-none-eabi-size", QEMU),
    "this computer": ("gcc", ["-O2"], "size", []),
}


def there(board):
    """Whether the programs for a board are installed."""
    compiler, _, size, simulator = BOARDS[board]
    return all(shutil.which(program) for program in (compiler, size, *simulator[:1]))


def write(folder, model, pictures, weights):
    """Put the sources, the net and the pictures into a folder."""
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    to_c(model, Path(folder) / "net.h", x=pictures / 16, weights=weights)
    numbers = ", ".join(map(str, pictures.ravel()))
    text = f"#define PICTURES {len(pictures)}\nstatic const uint8_t pictures[] IN_FLASH = {{{numbers}}};\n"
    (Path(folder) / "pictures.h").write_text(text)


def build(folder, board):
    """Compile for a board; the bytes of flash that the whole program takes."""
    compiler, options, size, _ = BOARDS[board]
    subprocess.run([compiler, *STRICT, *options, "main.c", "-o", "digits.elf", "-lm"], cwd=folder, check=True)
    told = subprocess.run([size, "digits.elf"], cwd=folder, check=True, capture_output=True, text=True).stdout
    text, data = told.splitlines()[1].split()[:2]
    return int(text) + int(data)


def simulate(folder, board):
    """What the program on the board says to each picture, and the milliseconds that it took, where there is a clock."""
    command = [*BOARDS[board][3], str(Path(folder) / "digits.elf")]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)
    lines = re.findall(r"digit (\d) ticks (\d+)", said.stdout + said.stderr)
    return np.array([int(digit) for digit, _ in lines]), np.array([int(ticks) for _, ticks in lines]) * 0.064


def main(epochs=40, seed=0, pictures=5, weights="int8", folder=None):
    from sklearn.datasets import load_digits

    data = load_digits()
    images, digits = data.data.astype(np.uint8), data.target  # (1797, 64), from 0 to 16, and (1797,)
    learnt, new = np.split(np.random.default_rng(seed).permutation(len(images)), [1400])
    model = pk.mlp([64, 32, 10], activation=pk.ReLU, rng=seed)
    options = {"epochs": epochs, "rng": seed, "progress": False}
    if pk.fit(model, pk.CrossEntropy(), pk.Adam(model, lr=0.005), images[learnt] / 16, digits[learnt], **options).interrupted:
        raise KeyboardInterrupt
    right = pk.accuracy(pk.predict(model, images[new] / 16), digits[new])
    print(f"64-32-10 in Python: {right:.1%} of {len(new)} new pictures right")
    with tempfile.TemporaryDirectory() as scratch:
        where = Path(folder or scratch).resolve()
        where.mkdir(parents=True, exist_ok=True)
        for board in BOARDS:
            if not there(board):
                print(f"{board}: left out, as {BOARDS[board][0]}, or what runs its programs, is not installed")
                continue
            some = new if board == "this computer" else new[:pictures]
            write(where, model, images[some], weights)
            size = build(where, board)
            said, times = simulate(where, board)
            time = f", {times.mean():.0f} ms each" if times.any() else ""
            if board == "this computer":
                print(f"{board}, {weights}: {(said == digits[some]).mean():.1%} of {len(some)} new pictures right")
            else:
                print(f"{board}, {weights}: {size:,} bytes of flash{time}; says {said}, in truth {digits[some]}")
    for row in images[new[0]].reshape(8, 8):
        print("".join(".:-=+*#%@"[pixel // 2] * 2 for pixel in row))


def check(options):
    """What is wrong with the options, or missing on this machine."""
    if options.pictures > 100:
        return f"expected --pictures from 1 to 100, got {options.pictures}"
    return None if importlib.util.find_spec("sklearn") else NEEDED


if __name__ == "__main__":
    run(
        main,
        __doc__,
        check=check,
        epochs="passes through the pictures",
        seed="of the split, the weights and the order",
        pictures="how many the boards read, 1 to 100",
        weights={"choices": ["float32", "int8"], "help": "how the net is stored"},
        folder={"type": Path, "help": "where the sources in C are kept; without it they are not"},
    )
