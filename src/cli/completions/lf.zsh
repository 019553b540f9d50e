#compdef lf
# zsh completion for lf: what may follow is asked of lf, which needs no passphrase for that.
_lf() {
    local line
    local -a found shown
    for line in "${(@f)$(command lf complete zsh "$PREFIX" "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}"; do
        case $line in
        '') ;;
        $'\tfiles') _files ;;
        $'\tcommand '*)
            shift "${line#*command }" words
            ((CURRENT -= ${line#*command }))
            _normal
            ;;
        *)
            found+=("${line%%$'\t'*}")
            shown+=("${line/$'\t'/  -- }")
            ;;
        esac
    done
    ((${#found})) && compadd -l -d shown -a found
}

if [[ ${funcstack[1]} == _lf ]]; then
    _lf "$@"
else
    compdef _lf lf
fi
