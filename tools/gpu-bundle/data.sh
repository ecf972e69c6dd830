# Sourced in the bundle's folder: joins files that came in parts, over several bundles if need be,
# and tells tests where the repository's data is.

parts=${KCACHE_PARTS:-/tmp/kcache-parts}
mkdir -p "$parts"
(cd data && find . -name '*.part-*-of-*' -exec cp --parents {} "$parts" \;)
while read -r first; do
    file=${first%.part-*} count=${first##*-of-}
    for ((i = 1; i <= count; i++)); do
        [ -e "$parts/$file.part-$i-of-$count" ] || continue 2
    done
    mkdir -p "data/$(dirname "$file")"
    for ((i = 1; i <= count; i++)); do
        cat "$parts/$file.part-$i-of-$count"
    done >"data/$file"
done < <(cd "$parts" && find . -name '*.part-1-of-*')
export KCACHE_TEST_DATA=$PWD/data
