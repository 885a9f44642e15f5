#!/bin/sh
# Prints the state of a job in Snakemake's words: success, running or failed.
reply=$(scontrol show job --oneliner "$1" 2>&1)
state=$(echo "$reply" | grep -o 'JobState=[A-Z_]*' | cut -d= -f2)
case $reply in
    # Slurm forgets a job some minutes after its end (MinJobAge); the accounting database knows it, where there is one.
    *'Invalid job id'*)
        state=$(sacct -X -n -P -o State -j "$1" 2> /dev/null | head -n 1)
        state=${state:-FORGOTTEN}
        ;;
esac
case $state in
    COMPLETED) echo success ;;
    # Silence is a controller that does not answer; ask again.
    '' | PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED) echo running ;;
    *) echo failed ;;
esac
