from toolkit.cli.main import run

raise SystemExit(run(["convert", *__import__("sys").argv[1:]]))
