#!/bin/bash
{{directives}}

# Written by `pinnx submit`. It can be submitted again by hand: what is done stays done, and what is not goes on.
{{setup}}

# Shortly before the time is up Slurm sends {{signal}} to this script. TERM lets pinnx end its step, write a checkpoint and
# exit with code 3.
out_of_time=no
asked=no
pinnx=
trap 'out_of_time=yes; asked=yes; [ -z "$pinnx" ] || kill -TERM "$pinnx"' {{signal}}
trap 'asked=yes; [ -z "$pinnx" ] || kill -TERM "$pinnx"' TERM

{{command}} &
pinnx=$!
if [ "$asked" = yes ]; then kill -TERM "$pinnx"; fi # the signal came before its number was known
wait "$pinnx"
code=$?
while kill -0 "$pinnx" 2>/dev/null; do # a signal ends the waiting, not pinnx
  wait "$pinnx"
  code=$?
done
{{requeue}}
exit "$code"
