# One part of a lock: -v part=models writes the packages that models.txt names, part=rest all others.
#   awk -v part=rest -f part.awk models.txt requirements.lock
FNR == NR { if ($0 !~ /^#/) named[$1]; next }
/^[a-z0-9]/ { name = $1; sub(/[=[].*/, "", name); keep = (name in named) == (part == "models") }
keep
