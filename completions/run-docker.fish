# fish completion of run-docker and run-docker-conda.
# By hand: run-docker completion fish | source

function __run_docker_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l shown ($program internal-complete -- $words (string unescape -- $current; or echo $current) 2>/dev/null)
    for line in $shown
        switch $line
            case ':files'
                __fish_complete_path $current
            case ':directories'
                __fish_complete_directories $current
            case ':commands'
                complete -C "$current"
            case '*'
                echo $line
        end
    end
end

complete -c run-docker -f -a '(__run_docker_complete)'
complete -c run-docker-conda -f -a '(__run_docker_complete)'
