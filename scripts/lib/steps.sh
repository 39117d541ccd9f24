# Steps with a header, a time and a verdict; sourced by scripts/test.
#
#   step NAME COMMAND...   runs COMMAND in a subshell that stops at the first
#                          failure; the next step comes in any case. Not to be
#                          called in a condition or with ||: bash would ignore
#                          `set -e` inside.
#   stop_if_failed         ends here if a step failed that the rest stands on
#   summary                lists all steps and returns whether all passed

step_names=()
step_verdicts=()
steps_failed=0

step() {
    local name=$1 began status verdict
    shift
    began=$SECONDS
    printf '\n=== %s ===\n' "$name"
    set +e
    (
        set -euo pipefail
        "$@"
    )
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        verdict="passed"
    else
        verdict="FAILED ($status)"
        steps_failed=$((steps_failed + 1))
    fi
    step_names+=("$name")
    step_verdicts+=("$verdict in $((SECONDS - began)) s")
    printf -- '--- %s: %s in %s s\n' "$name" "$verdict" "$((SECONDS - began))"
}

stop_if_failed() {
    if [ "$steps_failed" -gt 0 ]; then
        summary
    fi
}

summary() {
    local i
    printf '\n=== summary, %s s ===\n' "$SECONDS"
    for i in "${!step_names[@]}"; do
        printf '%-28s %s\n' "${step_names[$i]}" "${step_verdicts[$i]}"
    done
    [ "$steps_failed" -eq 0 ]
}
