"""Compares our ids with Hugging Face `tokenizers` reading the same tokenizer.json (`pip install tokenizers`).

    python crates/tokenizer/tests/outsiders.py TOKENIZER.json ENCODE [TEXT_FILE...]

ENCODE is the built example `encode`. Checked: the ids of awkward, random and given texts; that decoding them
gives the text back; the special tokens' ids; and that the file as Hugging Face saves it again gives the same ids
here. Special tokens spelled out in text are left out: Hugging Face turns them into ids, we keep them as text.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

SPECIAL = ["bos", "user_start", "user_end", "assistant_start", "assistant_end",
           "python_start", "python_end", "output_start", "output_end"]
AWKWARD = ["", " ", "\n", "a", "I'm, you're, IT'S, we'Ll", "ſ'ſ 'ſt it'ſ", "  two  spaces  ", "\t\ttabs\r\n\r\nlines\n\n ", " \n x", "x \n ",
           "1 12 123 1234 12345", "½ Ⅷ ② ٣٤٥ 五", "!?... (a)!!\n\n", "é e\u0301 \u0301\u0301", "\u00a0x\u2003\u3000y\u0085\u2028z\ufeff\u200b",
           "你好世界 今日は Привет مرحبا שלום नमस्ते ไทย 한국어", "👩‍👩‍👧 🌍🎉", "\x00\x01\x7f\ufffd\U0010ffff", "K K Å", "'", "''s 's's",
           "a" * 5000, " " * 5000 + "x", "\n" * 5000, "ab" * 5000, "1" * 5000, "é" * 3000, "<|bo", "<|endoftext|>"]


def random_texts(known):
    dice = random.Random(1)
    common = " \n\r\tabcdeSTLst019'.,!?(\u0301\u200d\u00a0éЖ中🌍" if known is None else "".join(sorted(known))
    for _ in range(2000):
        yield "".join(dice.choice(common) for _ in range(dice.randint(0, 40)))
    for _ in range(0 if known else 1000):
        points = (dice.choice((dice.randrange(0x300), dice.randrange(0x3000), dice.randrange(0x20000))) for _ in range(dice.randint(0, 30)))
        yield "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def ours(encode, path, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    done = subprocess.run([encode, path, "--lines"], input=lines, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{encode} failed: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    path, encode, *files = sys.argv[1:]
    theirs = Tokenizer.from_file(path)
    described = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["model"]
    known = set(described["vocab"]) if described["type"] == "WordLevel" else None

    given = [pathlib.Path(name).read_bytes().decode() for name in files]
    texts = AWKWARD + list(random_texts(known)) + given + [text[at : at + 997] for text in given for at in range(0, len(text), 997)]
    texts = [text for text in texts if not any(f"<|{name}|>" in text for name in SPECIAL)]

    with tempfile.TemporaryDirectory() as folder:
        again = str(pathlib.Path(folder) / "again.json")
        theirs.save(again)
        rounds = [ours(encode, path, texts), ours(encode, again, texts)]

    faults = []
    for ids in rounds:
        if len(ids) != len(texts):
            sys.exit(f"{len(ids)} answers for {len(texts)} texts")
        for text, id_list in zip(texts, ids):
            expected = theirs.encode(text, add_special_tokens=False).ids
            if id_list != expected:
                faults.append(f"{text[:60]!r}: ours {id_list[:12]}, Hugging Face {expected[:12]}")
            elif (known is None or known.issuperset(text)) and theirs.decode(id_list, skip_special_tokens=False) != text:
                faults.append(f"{text[:60]!r}: Hugging Face decodes our ids to another text")
    first = len(described["vocab"])
    for index, name in enumerate(SPECIAL):
        if theirs.token_to_id(f"<|{name}|>") != first + index:
            faults.append(f"<|{name}|> is {theirs.token_to_id(f'<|{name}|>')}, not {first + index}")
    if theirs.get_vocab_size() != first + len(SPECIAL):
        faults.append(f"vocabulary of {theirs.get_vocab_size()}, not {first + len(SPECIAL)}")
    print(f"{path}: {2 * len(texts)} texts compared, {len(faults)} faults")
    sys.exit("\n".join(faults[:20]) if faults else 0)


main()
