# fish completion for lf: what may follow is asked of lf, which needs no passphrase for that.
function __lf_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in (command lf complete fish "$word" $words[2..-1] "$word" 2>/dev/null)
        switch $line
            case \tfiles
                __fish_complete_path "$word"
            case \tcommand\ \*
                set -l first (math (string replace -r '.*command ' '' -- $line) + 1)
                complete -C (string join ' ' -- (string escape -- $words[$first..-1]) "$word")
            case '*'
                printf '%s\n' $line
        end
    end
end

complete -c lf -f -a '(__lf_complete)'
