#!/bin/sh
# What became of a job, in the words that Snakemake asks for: success, running or failed.
told=$(scontrol show job --oneliner "$1" 2>&1)
state=$(echo "$told" | grep -o 'JobState=[A-Z_]*' | cut -d= -f2)
case $told in
    # Forgotten, as Slurm does some minutes after a job's end (MinJobAge): the accounts know, where there are any.
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
