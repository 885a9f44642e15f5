#!/bin/sh
# What became of a job, in the words that Snakemake asks for: success, running or failed.
case $(scontrol show job --oneliner "$1" 2> /dev/null | grep -o 'JobState=[A-Z_]*') in
    JobState=COMPLETED) echo success ;;
    # Silence is a controller that does not answer; ask again.
    '' | JobState=PENDING | JobState=CONFIGURING | JobState=RUNNING | JobState=COMPLETING | JobState=SUSPENDED) echo running ;;
    *) echo failed ;;
esac
