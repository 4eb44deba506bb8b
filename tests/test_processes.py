"""Work in other processes: each item in its own, and a killed process named."""

import os
import signal
import subprocess
import sys

from volseg.processes import ProcessKilledError, each_alone, tell


def doubled(number):
    """Twice a number; 3 ends its process as the system does where memory runs out."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def threads_and_process(_):
    return os.environ["OMP_NUM_THREADS"], os.getpid()


def test_a_process_that_is_killed_costs_its_item_alone():
    results = dict(each_alone(doubled, [1, 3, 5], workers=2))

    assert (results[0], results[2]) == (2, 10)
    assert isinstance(results[1], ProcessKilledError)


def test_each_item_has_a_process_of_its_own_with_the_given_threads():
    found = [result for _, result in each_alone(threads_and_process, "ab", 1, threads=3)]

    assert [threads for threads, _ in found] == ["3", "3"]
    assert len({os.getpid(), *(process for _, process in found)}) == 3


def telling(item):
    for word in ("first", "second"):
        tell(f"{word} step of {item}")
    return doubled(item)


def test_a_process_tells_at_once_what_it_does_even_if_it_is_killed():
    said = []

    list(each_alone(telling, [1, 3], 1, told=lambda number, words: said.append((number, words))))

    assert said == [
        (number, f"{word} step of {item}")
        for number, item in enumerate([1, 3])
        for word in ("first", "second")
    ]
    tell("here nobody listens")


def test_after_a_stop_no_item_begins():
    answers = iter([False, True, True])

    results = list(each_alone(doubled, [1, 2, 4], workers=1, stop=lambda: next(answers)))

    assert results == [(0, 2)]


def test_a_script_without_the_guard_gets_the_remedy(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from volseg.processes import NoProcessError, each_alone\n"
        "try:\n    list(each_alone(len, ['a'], 1))\n"
        "except NoProcessError as error:\n    print(error, '|', error.remedy)\n"
    )

    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=True
    )

    assert ended.stdout == (
        "a process ended with an error, printed above, while it read the script again | in a "
        'script, call volseg below the line `if __name__ == "__main__":`\n'
    )
