# Sourced by rendering.sh and testing_psnr.sh: makes `arguments` of stillsplat batch out of CLIP... OPTION... and RESULTS.
arguments=() clips=""
while [ $# -gt 0 ] && [[ $1 != -* ]]; do
    clips=${clips:+$clips,}$1
    shift
done
[ -z "$clips" ] || arguments+=(--clips "$clips")
[ -z "${RESULTS:-}" ] || arguments+=(--scenes "$RESULTS")
arguments+=("$@")
