"""What shtab cannot say by itself: comma lists, names or paths, and the filter language.

A value here is what shtab takes as ``action.complete``: by shell, what is called for the word that
is being typed, and under ``preamble`` the function that it calls.
"""

import hashlib
import shlex
from collections.abc import Collection, Mapping
from string import Template

Completer = dict[str, str | dict[str, str]]

USERS: Completer = {
    "bash": "_sealsnoop_users",
    "zsh": "_users",
    "fish": "(__fish_complete_users)",
    "preamble": {"bash": '_sealsnoop_users() { compgen -u -- "$1"; }'},
}


def choices(words: Collection[str], several: bool) -> Completer:
    """One of ``words``, or with ``several`` any number of them with commas between."""
    name, text = _named("list" if several else "one", words), " ".join(words)
    zsh = f"_values -s , value {text}" if several else f"compadd -- {text}"
    return {
        "bash": name,
        "zsh": name,
        "fish": f"(_sealsnoop_list {text})" if several else text,
        "preamble": {
            "bash": f"{name}() {{ _sealsnoop_list '{text}' '' \"$1\"; }}",
            "zsh": f"{name}() {{ {zsh} }}",
        },
    }


def named_folders(names: Collection[str]) -> Completer:
    """One of ``names``, or a folder."""
    return _names_or("dir", "-d", "_files -/", "__fish_complete_directories", names)


def named_files(names: Collection[str]) -> Completer:
    """One of ``names``, or a file."""
    return _names_or("file", "-f", "_files", "__fish_complete_path (commandline -ct)", names)


def _names_or(kind: str, bash: str, zsh: str, fish: str, names: Collection[str]) -> Completer:
    # shtab looks for "_file" and "_dir" in the name and has bash treat the words as paths.
    name, text = _named(kind, names), " ".join(names)
    return {
        "bash": name,
        "zsh": name,
        "fish": f"(printf '%s\\n' {text}; {fish})",
        "preamble": {
            "bash": f'{name}() {{ compgen -W \'{text}\' -- "$1"; compgen {bash} -- "$1"; }}',
            "zsh": f"{name}() {{ _alternative 'names:it comes with sealsnoop:({text})' "
            f"'paths:path:{zsh}' }}",
        },
    }


def _named(kind: str, words: Collection[str]) -> str:
    return f"_sealsnoop_{kind}_{hashlib.sha256(' '.join(words).encode()).hexdigest()[:8]}"


def filters() -> Completer:
    """The words of ``--filter``: keys, and the values of a key that has known ones."""
    return {
        "bash": "_sealsnoop_filter",
        "zsh": "_sealsnoop_filter",
        "fish": "(_sealsnoop_filter)",
        "preamble": {
            shell: Template(text).substitute(
                keys=" ".join(f"{key}:" for key in _keys()),
                cases="\n".join(
                    _CASES[shell].format(
                        key, " ".join(words) if shell == "bash" else shlex.join(words)
                    )
                    for key, words in _keys().items()
                    if words
                ),
            )
            for shell, text in _FILTERS.items()
        },
    }


def _keys() -> Mapping[str, list[str]]:
    """Each key with its words, or what its values may start with."""
    from tracer.filter.query import KEYS, Form

    more = [">", "<"]
    signs = {Form.TEXT: ["~"], Form.NUMBER: more, Form.BYTES: more, Form.DURATION: more}
    return {key.name: list(key.words) or signs.get(key.form, []) for key in KEYS}


def preamble(shell: str) -> str:
    """What the functions above call; it stands once in a script."""
    return _PREAMBLES[shell]


def ending(shell: str) -> str:
    """What comes behind shtab's own script."""
    return _BASH_ENDING if shell == "bash" else ""


_PREAMBLES = {
    "bash": r"""
# $1: the words, $2: what stands before them, $3: what is typed, A,B or the start of a word
_sealsnoop_list() {
  local before=$2
  [[ $3 == *,* ]] && before+=${3%,*},
  compgen -P "$before" -W "$1" -- "${3##*,}"
}
""",
    "zsh": "",
    "fish": r"""
function _sealsnoop_list
  set -l before (string match -r '^.*,' -- (commandline -ct); or echo '')
  printf '%s\n' $before$argv
end
""",
}

_CASES = {
    "bash": "    {}) words='{}' ;;",
    "zsh": "    ({}:*) compset -P '*:'; compset -P '*,'; compadd -S '' -- {} ;;",
    "fish": "    case {}\n      set words {}",
}

_FILTERS = {
    "bash": r"""
_sealsnoop_filter() {
  local before= word=$$1 words= found
  [[ $$word == *' '* ]] && before="$${word% *} " word=$${word##* }
  [[ $$word == '!'* ]] && before+='!' word=$${word:1}
  if [[ $$word != *:* ]]; then
    found=$$(compgen -W '$keys' -- "$$word")
    if [[ $$found != *: || $$found == *$$'\n'* ]]; then
      compgen -P "$$before" -W '$keys' -- "$$word"
      return
    fi
    word=$$found  # the only one: its values follow at once
  fi
  case $${word%%:*} in
$cases
  esac
  [[ $$word == *: && $$words != *[a-z]* ]] && echo "$$before$$word"  # anything may follow
  [[ $$words ]] && _sealsnoop_list "$$words" "$$before$${word%%:*}:" "$${word#*:}"
}
""",
    "zsh": r"""
_sealsnoop_filter() {
  compset -P '*[[:space:]]'
  compset -P '!'
  case $$PREFIX in
$cases
    (*) compadd -S '' -- $keys ;;
  esac
}
""",
    "fish": r"""
function _sealsnoop_filter
  set -l typed (string replace -r '^[\'"]' '' -- (commandline -ct))
  set -l before (string match -r '^.* ' -- $$typed; or echo '')
  set -l word (string replace -r '^.* ' '' -- $$typed)
  if string match -q '!*' -- $$word
    set before "$$before!"
    set word (string sub -s 2 -- $$word)
  end
  if not string match -q '*:*' -- $$word
    printf '%s\n' $$before(string split ' ' '$keys')
    return
  end
  set -l key (string replace -r ':.*' '' -- $$word)
  set before $$before(string match -r '^[^:]*:(?:.*,)?' -- $$word)
  set -l words
  switch $$key
$cases
  end
  printf '%s\n' $$before$$words
end
""",
}

_BASH_ENDING = r"""
# bash ends words at : and =, where those of ours go on.
_sealsnoop() {
  local word words=() line=$COMP_LINE quote= last cut
  for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    if ((${#words[@]})) && [[ $line != [[:space:]]* ]]; then
      words[-1]+=$word
    else
      line=${line#"${line%%[![:space:]]*}"}
      words+=("$word")
    fi
    line=${line#"$word"}
  done
  last=${words[-1]}
  if [[ $last == --*=* ]]; then  # --option=value, as two words
    words[-1]=${last%%=*}
    words+=("${last#*=}")
  fi
  word=${words[-1]}
  [[ $word == [\'\"]* ]] && quote=1 word=${word:1}
  words[-1]=$word
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
  _shtab_sealsnoop
  if [[ ! $quote && $last == *[:=]* ]]; then  # readline replaces only what follows them
    [[ $COMP_WORDBREAKS == *:* ]] && cut=${word%"${word##*:}"} || cut=
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
  fi
  [[ ${COMPREPLY[0]-} == *[:~\<\>] ]] && compopt -o nospace
  return 0
}
complete -o bashdefault -F _sealsnoop sealsnoop
"""
