# The reader of a page of the documentation, in bash:
#
#   bash reader.sh PAGE ADMIN_PORT
#
# PAGE is the page with its commands only (see reader.rs), each on its own line of the page. The reader
# has one folder, types the commands of a block one after the other, opens another terminal for what
# goes on until Ctrl-C, and ends that where the page starts such a one anew, or at the end.
set -Eeuo pipefail
shopt -s inherit_errexit nullglob

page=$1 admin=http://127.0.0.1:$2
screens=$(mktemp -d)
opened=0
# The process in each terminal by the two words of its command, and how much of each screen is old.
declare -A process=() old=()

stop_reading() {
    local status=$?
    if [ $status != 0 ]; then
        echo "the screens of the reader showed:"
        tail -n 40 "$screens"/*
    fi
    for kind in "${!process[@]}"; do kill -KILL "${process[$kind]}" || true; done
    rm -rf "$screens"
    exit $status
}
trap stop_reading EXIT
trap 'name_the_line "$BASH_COMMAND"' ERR

# Where in the page a command failed.
name_the_line() {
    local status=$? frame
    for frame in "${!BASH_SOURCE[@]}"; do
        if [ "${BASH_SOURCE[$frame]}" = "$page" ]; then
            echo "line ${BASH_LINENO[$frame - 1]}: exit code $status of: $1" >&2
            return
        fi
    done
}

give_up() {
    echo "line ${BASH_LINENO[1]}: $1" >&2
    exit 1
}

# Ctrl-C in a terminal: its command ends well.
interrupt() {
    local id=${process[$1]}
    unset "process[$1]"
    kill -INT "$id"
    wait "$id"
}

# What goes on until Ctrl-C, in a terminal of its own.
terminal() {
    local kind="$1 $2" screen ready deadline=$((SECONDS + 60))
    if [ -n "${process[$kind]:-}" ]; then interrupt "$kind"; fi
    screen=$screens/terminal-$((++opened))
    env "$@" >"$screen" 2>&1 &
    process[$kind]=$!
    case $kind in
        'hookferry run') ready=(curl --silent --fail "$admin/readyz") ;;
        *) ready=(grep listening "$screen") ;;
    esac
    until "${ready[@]}" >/dev/null; do
        kill -0 "${process[$kind]}" || give_up "it ended: $*"
        [ $SECONDS -lt $deadline ] || give_up "not ready: $*"
        sleep 0.1
    done
}

# A person says yes where one is asked.
hookferry() {
    case "$1 ${2:-}: $* " in
        *' --yes '* | *' --dry-run '*) ;;
        'dead-letters redrive:'* | 'dead-letters purge:'*) set -- "$@" --yes ;;
    esac
    command hookferry "$@"
}

# Carries out a block. Only what is shown from now on counts as shown.
carry_out() {
    local screen
    for screen in "$screens"/*; do old[$screen]=$(wc -c <"$screen"); done
    commands >"$screens/typed" 2>&1
    old["$screens/typed"]=0
    again=${1:-}
}

new_on_screens() {
    local screen
    for screen in "$screens"/*; do tail -c "+$((${old[$screen]:-0} + 1))" "$screen"; done
}

# Waits until each line of the input is on a screen; `…` stands for anything, and space for any space.
shown() {
    local line pattern deadline=$((SECONDS + 90))
    while IFS= read -r line; do
        pattern=$(sed -e 's/[]\*.^$(){}?+|[]/\\&/g' -e 's/…/.*/g' -e 's/  */ +/g' <<<"$line")
        until new_on_screens | grep -E -- "$pattern" >/dev/null; do
            [ $SECONDS -lt $deadline ] || give_up "not shown: $line"
            sleep 0.2
            # What only looks is done again.
            if [ -n "$again" ]; then commands >"$screens/typed" 2>&1; fi
        done
    done
}

source "$page"
for kind in "${!process[@]}"; do interrupt "$kind"; done
