function __conda_exe
    $CONDA_EXE $argv
end

function conda
    switch "$argv[1]"
        case activate deactivate
            set -l text (__conda_exe shell.fish $argv | string collect; test $pipestatus[1] -eq 0)
            or return
            printf '%s\n' $text | source
        case install update upgrade remove uninstall
            __conda_exe $argv
            or return
            __conda_exe shell.fish reactivate | source
        case '*'
            __conda_exe $argv
    end
end

# The prompt of the user's, with the environment in front.
if not functions -q __conda_fish_prompt
    if functions -q fish_prompt
        functions -c fish_prompt __conda_fish_prompt
    else
        function __conda_fish_prompt
        end
    end
    function fish_prompt
        printf '%s' "$CONDA_PROMPT_MODIFIER"
        __conda_fish_prompt
    end
end

if not set -q CONDA_SHLVL
    set -gx CONDA_SHLVL 0
    contains -- $__conda_bin $PATH
    or set -gx PATH $__conda_bin $PATH
end
set -e __conda_bin
