# bash completion for lf: what may follow is asked of lf, which needs no passphrase for that.
_lf() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        $'\tfiles') compopt -o default 2>/dev/null ;;
        $'\tcommand '*) _lf_command "${line#*command }" "$2" ;;
        *) COMPREPLY+=("$line") ;;
        esac
    done < <(command lf complete bash "$2" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

# Another command with its arguments, whose name is the word of that number.
_lf_command() {
    local line
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif ((COMP_CWORD == $1)); then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -c -- "$2")
    else
        compopt -o default 2>/dev/null
    fi
}

complete -F _lf lf
