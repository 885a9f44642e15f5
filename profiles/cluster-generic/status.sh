#!/bin/sh
# Prints the state of a job as Snakemake expects it: success, running or failed.
record=$(scontrol show job --oneliner "$1" 2>&1)
state=$(echo "$record" | grep -o 'JobState=[A-Z_]*' | cut -d= -f2)
case $record in
    # Slurm forgets a job some minutes after its end (MinJobAge); accounting, if there is any, still has it.
    *'Invalid job id'*)
        state=$(sacct -X -n -P -o State -j "$1" 2> /dev/null | head -n 1)
        state=${state:-FORGOTTEN}
        ;;
esac
case $state in
    COMPLETED) echo success ;;
    # No output: the controller does not answer; query again.
    '' | PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED) echo running ;;
    *) echo failed ;;
esac
