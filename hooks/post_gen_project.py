"""Takes away what the answers leave out, and prints the next steps."""

import json
import shutil


def main():
    answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
    if not answers["include_github_actions"]:
        shutil.rmtree(".github")
    print(f"""
Generated {answers["project_slug"]}, with a trained model in models/. Next:

  cd {answers["project_slug"]}
  make install      # a virtual environment with the locked dependencies
  make serve        # predictions, and a page to try them, on http://127.0.0.1:{answers["port"]}
  make help         # every other command
""")


if __name__ == "__main__":
    main()
